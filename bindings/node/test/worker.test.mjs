// Several isolates in one process: each has caches of its own, and ends without hurting the others.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { manualCache, program } from './helpers.mjs';

const worker = (source) => new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
const index = JSON.stringify(import.meta.resolve('libisr'));

test('caches work in workers, at the same time as here', async () => {
  const source = `
    import { parentPort } from 'node:worker_threads';
    import { Cache } from ${index};
    const cache = new Cache();
    cache.page('/[id]', async (job) => 'worker ' + job.params.id + ' ' + (await job.data('k', () => 'data')));
    const answers = await Promise.all(['1', '2', '1'].map((id) => cache.get('/' + id)));
    parentPort.postMessage([cache.stats().renders, ...answers.map((answer) => answer.body.toString())]);`;
  const workers = Array.from({ length: 4 }, () => worker(source));
  const { cache } = manualCache();
  cache.page('/p', () => 'main');
  const ends = workers.map((thread) => once(thread, 'exit'));
  for (const [message] of await Promise.all(workers.map((thread) => once(thread, 'message')))) {
    assert.deepEqual(message, [2, 'worker 1 data', 'worker 2 data', 'worker 1 data']);
  }
  // Idle workers end by themselves.
  for (const [status] of await Promise.all(ends)) assert.equal(status, 0);
  assert.equal((await cache.get('/p')).body.toString(), 'main');
  await cache.close();
});

test('a worker that ends with unfinished renders leaves nothing behind', async () => {
  const source = `
    import { parentPort } from 'node:worker_threads';
    import { Cache } from ${index};
    const cache = new Cache({ threads: 2 });
    let begun = 0;
    cache.page('/[id]', async (job) => {
      job.data('k' + job.params.id, () => new Promise(() => {})).catch(() => {});
      if (++begun === 2) parentPort.postMessage('begun');
      return new Promise(() => {});
    });
    for (let i = 0; i < 20; i += 1) cache.get('/' + i).catch(() => {});
    cache.data('d', () => new Promise(() => {})).catch(() => {});`;
  for (let round = 0; round < 5; round += 1) {
    const thread = worker(source);
    await once(thread, 'message');
    assert.equal(await thread.terminate(), 1);
  }
});

test('process.exit in a worker and in the main thread while workers render', async () => {
  const ran = await program(`
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const source = (end) => 'data:text/javascript,' + encodeURIComponent(\`
      import { parentPort } from 'node:worker_threads';
      import { Cache } from ${index.replaceAll('"', "'")};
      const cache = new Cache();
      cache.page('/[id]', () => { parentPort.postMessage('begun'); \${end}; return new Promise(() => {}); });
      for (let i = 0; i < 4; i += 1) cache.get('/' + i).catch(() => {});\`);
    const first = new Worker(new URL(source('process.exit(5)')));
    const [status] = await once(first, 'exit');
    console.log(status);
    const second = new Worker(new URL(source('')));
    await once(second, 'message');
    process.exit(7);`);
  assert.deepEqual({ ...ran, stdout: ran.stdout.trim() }, { stdout: '5', stderr: '', status: 7, signal: null });
});
