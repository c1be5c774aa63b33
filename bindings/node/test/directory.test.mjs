// A directory: what is kept over a restart, who shares it, and who is told of its trouble.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { Cache } from 'libisr';
import { isr, program, until } from './helpers.mjs';

const index = JSON.stringify(import.meta.resolve('libisr'));

function temporary(t) {
  const path = mkdtempSync(join(tmpdir(), 'isr-directory-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A directory that is refused: others may write to what is in it. */
function broken(t) {
  const path = join(temporary(t), 'bad');
  mkdirSync(join(path, 'v1'), { recursive: true });
  chmodSync(join(path, 'v1'), 0o777);
  return path;
}

function open(directory, who = 'main', options = {}) {
  const cache = new Cache({ directory, ...options });
  cache.page('/[id]', { tags: ['t'] }, (job) => `${job.params.id} of ${who}`);
  return cache;
}

async function get(cache, path) {
  const answer = await cache.get(path);
  return `${answer.cache}: ${answer.body}`;
}

test('a restart keeps pages, data and invalidations', async (t) => {
  const directory = join(temporary(t), 'made', 'by the cache é');
  const first = open(directory, 'first', { durable: true });
  t.after(() => first.close());
  assert.equal(await get(first, '/1'), 'miss: 1 of first');
  assert.equal(await get(first, '/2'), 'miss: 2 of first');
  assert.deepEqual(await first.data('k', () => [1, 'value']), [1, 'value']);
  first.revalidatePath('/2');
  assert.equal(first.stats().diskWrites, 3);
  assert.ok(first.stats().diskBytes > 0);
  assert.equal(await first.close(), true);
  const second = open(directory, 'second');
  t.after(() => second.close());
  assert.equal(await get(second, '/1'), 'hit: 1 of first');
  assert.equal(second.stats().diskReads, 1);
  assert.equal(await get(second, '/2'), 'revalidated: 2 of second');
  assert.deepEqual(await second.data('k', () => 'never loaded'), [1, 'value']);
});

/** Someone else who opens the directory, and does what is said line by line. */
const OTHER = `
  const { Cache } = await import(${index});
  const serve = (directory, who) => {
    const cache = new Cache({ directory });
    cache.page('/[id]', { tags: ['t'] }, (job) => job.params.id + ' of ' + who);
    return async (line) => {
      const [word, argument] = line.split(' ');
      if (word === 'tag') return cache.revalidateTag(argument), 'done';
      const answer = await cache.get(argument);
      return answer.cache + ': ' + answer.body;
    };
  };`;

async function shares(cache, other) {
  assert.equal(await get(cache, '/1'), 'miss: 1 of main');
  assert.equal(await other('get /1'), 'hit: 1 of main');
  assert.equal(await other('get /2'), 'miss: 2 of other');
  assert.equal(await get(cache, '/2'), 'hit: 2 of other');
  assert.equal(await other('tag t'), 'done');
  assert.equal(await get(cache, '/1'), 'revalidated: 1 of main');
  assert.equal(await other('get /1'), 'hit: 1 of main');
  cache.revalidateTag('t');
  assert.equal(await other('get /2'), 'revalidated: 2 of other');
  assert.equal(await get(cache, '/2'), 'hit: 2 of other');
}

test('processes share pages and invalidations', async (t) => {
  const directory = temporary(t);
  const source = `${OTHER}
    const { createInterface } = await import('node:readline');
    const answer = serve(process.argv[1], 'other');
    for await (const line of createInterface({ input: process.stdin })) console.log(await answer(line));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const cache = open(directory);
  try {
    await shares(cache, async (line) => {
      child.stdin.write(`${line}\n`);
      return (await lines.next()).value;
    });
    child.stdin.end();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  } finally {
    child.kill('SIGKILL');
    await cache.close();
  }
});

test('workers share pages and invalidations, each with callbacks of its own', async (t) => {
  const directory = temporary(t);
  const source = `${OTHER}
    const { parentPort, workerData } = await import('node:worker_threads');
    const answer = serve(workerData, 'other');
    parentPort.on('message', async (line) => {
      if (line === 'end') parentPort.close();
      else parentPort.postMessage(await answer(line));
    });`;
  const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: directory });
  t.after(() => thread.terminate());
  const cache = open(directory);
  t.after(() => cache.close());
  await shares(cache, async (line) => {
    thread.postMessage(line);
    return (await once(thread, 'message'))[0];
  });
  thread.postMessage('end');
  assert.deepEqual(await once(thread, 'exit'), [0]);
  // It is gone, and its directory is still good.
  assert.equal(await get(cache, '/2'), 'hit: 2 of other');
  assert.equal(await get(cache, '/3'), 'miss: 3 of main');
});

test('one render for a page that workers and processes ask for at the same time', async (t) => {
  const directory = temporary(t);
  const source = `
    import { parentPort, workerData } from 'node:worker_threads';
    import { Cache } from ${index};
    const cache = new Cache({ directory: workerData });
    cache.page('/p', () => new Promise((go) => {
      parentPort.postMessage('begun');
      parentPort.once('message', () => go('rendered'));
    }));
    const answer = await cache.get('/p');
    parentPort.postMessage(answer.cache + ': ' + answer.body);`;
  const threads = Array.from(
    { length: 3 },
    () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: directory }),
  );
  t.after(() => Promise.all(threads.map((thread) => thread.terminate())));
  const messages = [];
  for (const thread of threads) {
    thread.on('message', (message) => {
      messages.push(message);
      if (message === 'begun') thread.postMessage('go on');
    });
  }
  await Promise.all(threads.map((thread) => once(thread, 'exit')));
  assert.equal(messages.filter((message) => message === 'begun').length, 1, messages.join());
  assert.equal(messages.filter((message) => message.endsWith(': rendered')).length, 3, messages.join());
});

test('who waits for a worker that ends in the middle of its render renders for himself', async (t) => {
  const directory = temporary(t);
  const source = `
    import { parentPort, workerData } from 'node:worker_threads';
    import { Cache } from ${index};
    const cache = new Cache({ directory: workerData });
    cache.page('/[id]', { tags: ['t'] }, () => {
      parentPort.postMessage('begun');
      return new Promise(() => {});
    });
    cache.get('/1').catch(() => {});`;
  const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: directory });
  t.after(() => thread.terminate());
  const cache = open(directory);
  t.after(() => cache.close());
  await once(thread, 'message');
  let answered = false;
  const answer = get(cache, '/1').finally(() => (answered = true));
  assert.equal(cache.stats().renders, 1);
  assert.equal(answered, false);
  await thread.terminate();
  assert.equal(await answer, 'miss: 1 of main');
});

test('what is no directory is a wrong argument', (t) => {
  const file = join(temporary(t), 'file');
  writeFileSync(file, 'not a directory');
  for (const directory of [file, join(file, 'below')]) {
    assert.throws(() => new Cache({ directory }), isr('invalid_argument', 'directory must name a directory; got'));
  }
});

test('trouble is told once, and memory goes on', async (t) => {
  const directory = broken(t);
  const told = [];
  const cache = open(directory, 'main', { onTrouble: (error) => told.push(error) });
  assert.equal(told.length, 0, 'not inside the constructor');
  assert.equal(await get(cache, '/1'), 'miss: 1 of main');
  assert.equal(await get(cache, '/1'), 'hit: 1 of main');
  await until(() => told.length > 0);
  assert.ok(cache.stats().diskErrors > 0);
  await cache.close();
  assert.equal(told.length, 1);
  assert.ok(isr('store', directory)(told[0]), String(told[0]));
});

test('without onTrouble, or if that fails itself, one warning is emitted', async (t) => {
  const emit = t.mock.method(process, 'emitWarning', () => {});
  const directory = broken(t);
  const fails = { throws: () => assert.fail(new Error('oops')), rejects: () => Promise.reject(new Error('oops')) };
  for (const onTrouble of [undefined, fails.throws, fails.rejects]) {
    const cache = open(directory, 'main', { onTrouble });
    await until(() => emit.mock.callCount() > 0);
    await cache.close();
    const [[text, name], ...more] = emit.mock.calls.map((call) => call.arguments);
    assert.deepEqual([name, more], ['IsrWarning', []]);
    if (onTrouble) assert.equal(text, 'onTrouble failed: oops');
    else assert.match(text, /^trouble with the cache's directory, memory goes on alone: ISR_STORE .*bad/);
    emit.mock.resetCalls();
  }
});

test('neither a directory nor its trouble keeps the process alive, but trouble of the beginning is told', async (t) => {
  const directory = temporary(t);
  const quiet = await program(`
    import { Cache } from ${index};
    new Cache({ directory: ${JSON.stringify(directory)} });`);
  assert.deepEqual(quiet, { stdout: '', stderr: '', status: 0, signal: null });
  // Nor does what the cache does by itself once a page is stored.
  const stored = await program(`
    import { Cache } from ${index};
    const cache = new Cache({ directory: ${JSON.stringify(directory)} });
    cache.page('/p', () => 'p');
    await cache.get('/p');
    console.log(cache.stats().diskWrites);`);
  assert.deepEqual(stored, { stdout: '1\n', stderr: '', status: 0, signal: null });
  const warned = await program(`
    import { Cache } from ${index};
    new Cache({ directory: ${JSON.stringify(broken(t))} });`);
  assert.match(warned.stderr, /IsrWarning: trouble with the cache's directory/);
  assert.deepEqual([warned.status, warned.signal], [0, null]);
});
