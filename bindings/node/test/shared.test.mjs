// Isolates of one process that open one cache: one memory, one render of a page; callbacks stay with their isolate.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { Cache } from 'libisr';
import { gate, isr, manualCache, program, until } from './helpers.mjs';

const index = JSON.stringify(import.meta.resolve('libisr'));

/** A worker that has opened the cache `name` and does what `source` says. It ends with the test. */
function worker(t, name, source) {
  const whole = `
    import { parentPort, threadId } from 'node:worker_threads';
    import { Cache } from ${index};
    const cache = new Cache({ name: ${JSON.stringify(name)} });
    const say = (what) => parentPort.postMessage(what);
    ${source}`;
  const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(whole)}`));
  t.after(() => thread.terminate());
  return thread;
}

/** Renders who it is, and answers the paths that it is told with the outcome. */
const SERVES = `
  cache.page('/[id]', { tags: ['t'] }, (job) => job.params.id + ' of ' + threadId);
  parentPort.on('message', async (path) => {
    const answer = await cache.get(path);
    say(answer.cache + ': ' + answer.body);
  });`;

function open(t, options) {
  const cache = new Cache({ name: t.name, ...options });
  t.after(() => cache.close());
  return cache;
}

async function ask(thread, path) {
  thread.postMessage(path);
  return (await once(thread, 'message'))[0];
}

test('what one isolate renders is a hit for the others, from one memory', async (t) => {
  const cache = open(t);
  cache.page('/[id]', { tags: ['t'] }, (job) => `${job.params.id} of main`);
  const [a, b] = [worker(t, t.name, SERVES), worker(t, t.name, SERVES)];
  assert.equal(await ask(a, '/1'), `miss: 1 of ${a.threadId}`);
  assert.equal(await ask(b, '/1'), `hit: 1 of ${a.threadId}`);
  assert.equal((await cache.get('/1')).body.toString(), `1 of ${a.threadId}`);
  assert.equal((await cache.get('/2')).body.toString(), '2 of main');
  assert.equal(await ask(b, '/2'), 'hit: 2 of main');
  const { renders, hits, entriesStored, diskReads } = cache.stats();
  assert.deepEqual({ renders, hits, entriesStored, diskReads }, { renders: 2, hits: 3, entriesStored: 2, diskReads: 0 });
  // Nothing of it goes with the worker that rendered it.
  const its = `hit: 1 of ${a.threadId}`;
  await a.terminate();
  assert.equal(await ask(b, '/1'), its);
});

test('an invalidation in one isolate is seen by the next request in the others', async (t) => {
  const cache = open(t);
  cache.page('/[id]', { tags: ['t'] }, (job) => `${job.params.id} of main`);
  const thread = worker(t, t.name, SERVES);
  const its = `1 of ${thread.threadId}`;
  assert.equal(await ask(thread, '/1'), `miss: ${its}`);
  for (const invalidate of [() => cache.revalidateTag('t'), () => cache.revalidatePath('/1')]) {
    invalidate();
    assert.equal(await ask(thread, '/1'), `revalidated: ${its}`);
    assert.equal((await cache.get('/1')).cache, 'hit');
  }
  cache.remove('/1');
  assert.equal(await ask(thread, '/1'), `miss: ${its}`);
});

test('four workers that ask for the same cold page have it rendered once', async (t) => {
  const source = `
    cache.page('/p', () => new Promise((go) => {
      say('begun');
      parentPort.once('message', () => go('rendered'));
    }));
    const answer = cache.get('/p');
    say('asked');
    const { body } = await answer;
    say(body.toString());
    parentPort.close();`;
  const cache = open(t);
  const threads = Array.from({ length: 4 }, () => worker(t, t.name, source));
  const said = [];
  for (const thread of threads) thread.on('message', (what) => said.push(what));
  const count = (what) => said.filter((said) => said === what).length;
  const ends = threads.map((thread) => once(thread, 'exit'));
  await until(() => count('asked') === 4 && count('begun') === 1, 'all ask, and one renders');
  threads.forEach((thread) => thread.postMessage('go'));
  // Idle workers end by themselves.
  for (const [status] of await Promise.all(ends)) assert.equal(status, 0);
  assert.deepEqual([count('begun'), count('rendered'), cache.stats().renders], [1, 4, 1]);
});

for (const [how, end] of [
  ['is terminated', undefined],
  ['exits', 'process.exit(3)'],
  ['throws', "setImmediate(() => { throw new Error('mine') })"],
]) {
  test(`a worker that ${how} in mid-render leaves nobody waiting`, async (t) => {
    const cache = open(t);
    cache.page('/[id]', (job) => `${job.params.id} of main`);
    const other = worker(t, t.name, SERVES.replace("{ tags: ['t'] }, ", ''));
    await ask(other, '/warm');
    const thread = worker(
      t,
      t.name,
      `
      cache.page('/[id]', () => { say('begun'); return new Promise(() => {}); });
      cache.get('/1').catch(() => {});
      cache.data('d', () => { say('loads'); return new Promise(() => {}); }).catch(() => {});
      parentPort.on('message', () => { ${end ?? ''} });`,
    );
    const said = [];
    thread.on('message', (what) => said.push(what));
    thread.on('error', () => {});
    await until(() => said.length === 2, 'it renders and loads');
    const answers = [cache.get('/1'), ask(other, '/1'), cache.data('d', () => 'loaded here')];
    await until(() => cache.stats().renders === 2, 'nobody else renders it');
    const ended = new Promise((go) => thread.once('exit', go));
    if (end) thread.postMessage('end');
    else thread.terminate();
    await ended;
    const [here, there, data] = await Promise.all(answers);
    assert.equal(here.cache, 'miss');
    assert.match(here.body.toString(), /^1 of (main|\d+)$/);
    assert.ok(['miss', 'hit'].some((word) => there === `${word}: ${here.body}`), there);
    assert.equal(data, 'loaded here');
    assert.equal(cache.stats().renders, 3, 'once for all who are left');
  });
}

test('one that has not the route has it rendered by another, which stays alive for it', async (t) => {
  const cache = open(t);
  const thread = worker(
    t,
    t.name,
    `
    cache.page('/[id]', async (job) => {
      // From here on nothing but this render keeps the worker.
      parentPort.close();
      await new Promise((go) => setTimeout(go, 20).unref());
      return job.params.id + ' of the worker';
    });
    say('ready');
    parentPort.on('message', () => {});`,
  );
  await once(thread, 'message');
  const ended = once(thread, 'exit');
  assert.equal((await cache.get('/1')).body.toString(), '1 of the worker');
  assert.deepEqual(await ended, [0]);
  assert.throws(() => cache.tryGet('/2'), isr('no_route'));
});

test('a worker ends by itself while another isolate renders', async (t) => {
  const cache = open(t);
  const held = gate();
  // Whoever waits for that waits for the time-out.
  cache.page('/held', { timeout: 5 }, () => held.passed);
  const answer = cache.get('/held');
  answer.catch(() => {});
  const thread = worker(t, t.name, `globalThis.kept = cache; cache.page('/[id]', () => 'x'); await cache.get('/1');`);
  assert.deepEqual(await once(thread, 'exit'), [0]);
  assert.equal(cache.activity().running, 1);
  held.open('y');
  assert.equal((await answer).body.toString(), 'y');
});

test('close is for the isolate that closes, and the cache ends with the last one', async (t) => {
  const cache = open(t);
  cache.page('/[id]', { tags: ['t'] }, () => 'main');
  const thread = worker(t, t.name, SERVES);
  await ask(thread, '/1');
  assert.equal(await cache.close(), true);
  assert.equal(cache.closed, true);
  assert.throws(() => cache.tryGet('/1'), isr('closed'));
  assert.match(await ask(thread, '/1'), /^hit/);
  await thread.terminate();
  const next = open(t);
  assert.equal(next.stats().renders, 0);
});

test('what isolates share they open alike', async (t) => {
  const cache = open(t, { maxBytes: 1e6 });
  cache.page('/[id]', { staticParams: [{ id: '1' }] }, () => 'x');
  assert.throws(() => open(t, { maxBytes: 2e6 }), isr('conflict', 'maxBytes must be the same'));
  const { cache: other } = manualCache({ name: `${t.name}, other` });
  t.after(() => other.close());
  assert.throws(() => manualCache({ name: `${t.name}, other` }), isr('conflict', 'clock must be the same'));
  const same = open(t, { maxBytes: 1e6 });
  assert.throws(() => same.page('/[id]', () => 'x'), isr('conflict', 'staticParams of "/[id]" must be the same'));
  same.page('/[id]', { staticParams: [{ id: '1' }] }, () => 'y');
  assert.throws(() => new Cache({ name: '' }), isr('invalid_argument', 'name must not be empty'));
  assert.throws(() => new Cache({ name: 1 }), isr('invalid_argument', 'name must be a text'));
});

test('an idle process ends by itself although its isolates share a cache', async () => {
  const ran = await program(`
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    import { Cache } from ${index.replaceAll('"', "'")};
    const cache = new Cache({ name: 'c' });
    cache.page('/[id]', (job) => job.params.id);
    await cache.get('/1');
    const source = \`
      import { Cache } from ${index.replaceAll('"', "'")};
      const cache = new Cache({ name: 'c' });
      cache.page('/[id]', (job) => job.params.id);
      console.log((await cache.get('/1')).cache, (await cache.get('/2')).cache);\`;
    const thread = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
    await once(thread, 'exit');
    console.log((await cache.get('/2')).cache);`);
  assert.deepEqual(ran, { stdout: 'hit miss\nhit\n', stderr: '', status: 0, signal: null });
});
