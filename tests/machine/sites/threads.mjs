// Worker threads of one process, each with a cache on the same directory. Prints what came of it as JSON.
//
//     node threads.mjs DIRECTORY

import { on } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Cache } from '../../../bindings/node/dist/index.mjs';

const THREADS = 4;
const PAGES = 40;

if (isMainThread) console.log(JSON.stringify(await main(process.argv[2])));
else work(workerData);

/** A thread: does as it is told, one line at a time. */
function work({ directory, counts, gate }) {
  const cache = new Cache({ directory });
  cache.page('/p/[id]', { tags: ['all'] }, (job) => {
    Atomics.add(counts, Number(job.params.id), 1);
    return `page ${job.params.id}`;
  });
  // The first one never ends.
  cache.page('/held', async () => {
    if (Atomics.add(gate, 0, 1) > 0) return 'held';
    Atomics.notify(gate, 0);
    return new Promise(() => {});
  });
  const commands = {
    get: async (path) => (await cache.get(path)).cache,
    all: async (paths) => (await Promise.all(paths.map((path) => cache.get(path)))).map((a) => String(a.body)),
    pending: () => cache.activity().queued + cache.activity().running,
    tag: (tag) => cache.revalidateTag(tag),
    end: () => cache.close(),
  };
  parentPort.on('message', async ({ id, command, value }) => {
    try {
      parentPort.postMessage({ id, answer: await commands[command](value) });
    } catch (error) {
      parentPort.postMessage({ id, answer: `${error.kind}: ${error.message}` });
    }
    if (command === 'end') parentPort.close();
  });
}

async function main(directory) {
  const counts = new Int32Array(new SharedArrayBuffer(4 * PAGES));
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const data = { directory, counts, gate };
  const start = () => new Worker(new URL(import.meta.url), { workerData: data });
  const threads = Array.from({ length: THREADS }, start);
  let asked = 0;
  const ask = async (thread, command, value) => {
    const id = (asked += 1);
    thread.postMessage({ id, command, value });
    for await (const [said] of on(thread, 'message')) if (said.id === id) return said.answer;
  };

  const paths = Array.from({ length: PAGES }, (_, n) => `/p/${n}`);
  const bodies = await Promise.all(threads.map((thread) => ask(thread, 'all', paths)));
  const rendered = [...counts];

  const next = [];
  for (let n = 0; n < 100; n += 1) {
    await ask(threads[n % THREADS], 'tag', 'all');
    next.push(await ask(threads[(n + 1) % THREADS], 'get', '/p/0'));
    next.push(await ask(threads[(n + 2) % THREADS], 'get', '/p/0'));
  }

  // A thread is terminated in the middle of a render for which another waits.
  threads[0].postMessage({ command: 'get', value: '/held' });
  await Atomics.waitAsync(gate, 0, 0).value;
  const waiting = ask(threads[1], 'get', '/held');
  while ((await ask(threads[1], 'pending')) === 0);
  const killed = performance.now();
  await threads[0].terminate();
  const held = [await waiting, performance.now() - killed];

  const replaced = start();
  const again = await ask(replaced, 'get', '/p/0');
  await Promise.all([replaced, ...threads.slice(1)].map((thread) => ask(thread, 'end')));
  return { bodies, rendered, next, held, again };
}
