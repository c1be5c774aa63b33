// Hits that are answered without a call of the addon.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Cache, ManualClock } from 'libisr';
import { program } from './helpers.mjs';

/** A cache whose pages count their renders, and that has answered `/1` often enough to know it. */
async function site(options = {}, route = {}) {
  const cache = new Cache({ backoffJitter: 0, ...options });
  const renders = {};
  cache.page('/[id]', { revalidate: 60, tags: ['all'], ...route }, ({ path, params }) => {
    renders[path] = (renders[path] ?? 0) + 1;
    return { body: `${path} v${renders[path]}`, tags: [`page-${params.id}`] };
  });
  await warm(cache, '/1');
  return cache;
}

/** A directory for the time of a test. */
function folder(t) {
  const directory = mkdtempSync(join(tmpdir(), 'isr-hits-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function warm(cache, path) {
  await cache.get(path);
  for (let n = 0; n < 5; n++) assert.equal(cache.tryGet(path).cache, 'hit');
}

test('hits are counted, and are the same answer as long as nothing about it has changed', async () => {
  const clock = new ManualClock();
  const cache = await site({ clock });
  clock.advance(0.5);
  const before = cache.stats().hits;
  const first = cache.tryGet('/1');
  assert.equal(cache.tryGet('/1'), first);
  assert.equal(cache.get('/1'), first, 'at once, not a promise');
  assert.equal(await cache.get('/1'), first);
  assert.equal(cache.stats().hits, before + 4);
  assert.equal(first.body.toString(), '/1 v1');
  await cache.close();
  assert.equal(cache.stats().hits, before + 4);
});

for (const where of ['in memory', 'with a directory']) {
  test(`an answer that somebody keeps does not grow older, the next one does: ${where}`, async (t) => {
    const clock = new ManualClock();
    const cache = await site({ clock, ...(where === 'in memory' ? {} : { directory: folder(t) }) });
    const header = (answer, name) => answer.head().headers.find(([other]) => other === name)?.[1];
    const at = (answer) => [answer.age, header(answer, 'age'), header(answer, 'cache-status')];
    const kept = cache.tryGet('/1');
    assert.deepEqual(at(kept), [0, '0', 'libisr; hit; ttl=60']);
    const steps = [
      [0.5, 0, 59],
      [0.25, 0, 59],
      [0.25, 1, 59],
      [29.5, 30, 29],
      [0.5, 31, 29],
      [0.001, 31, 28],
    ];
    for (const [by, age, left] of steps) {
      clock.advance(by);
      for (let n = 0; n < 3; n++) {
        assert.deepEqual(at(cache.tryGet('/1')), [age, String(age), `libisr; hit; ttl=${left}`]);
      }
    }
    assert.equal(kept.age, 0);
    assert.equal(cache.tryGet('/1').page, kept.page);
    await cache.close();
  });
}

test('who asks the core again gives the same answer within a second', async (t) => {
  const asks = { 'after an invalidation': {}, 'with a directory': { directory: folder(t) } };
  for (const [what, options] of Object.entries(asks)) {
    const clock = new ManualClock();
    const cache = await site({ clock, ...options });
    clock.advance(0.25);
    const first = cache.tryGet('/1');
    clock.advance(0.5);
    const hits = cache.stats().hits;
    cache.revalidateTag('page-2');
    assert.equal(cache.tryGet('/1'), first, what);
    clock.advance(0.249);
    cache.revalidateTag('page-2');
    assert.equal(cache.tryGet('/1'), first, what);
    clock.advance(0.001);
    cache.revalidateTag('page-2');
    const next = cache.tryGet('/1');
    assert.notEqual(next, first, what);
    assert.deepEqual([first.age, next.age], [0, 1], what);
    clock.setWall(clock.now() - 0.7);
    cache.revalidateTag('page-2');
    assert.equal(cache.tryGet('/1').age, 0, `${what}, the clock set back`);
    assert.equal(cache.stats().hits, hits + 4, what);
    await cache.close();
  }
});

test('whatever ends a hit is seen by the very next one', async () => {
  const ends = {
    time: (_, clock) => clock.advance(60.001),
    'a clock set back': (_, clock) => clock.setWall(1),
    'a tag of the route': (cache) => cache.revalidateTag('all'),
    'a tag of the page': (cache) => cache.revalidateTag('page-1', { soft: true }),
    'its path': (cache) => cache.revalidatePath('/1'),
    'its layout': (cache) => cache.revalidatePath('/', 'layout'),
    'its removal': (cache) => cache.remove('/1'),
    'a route that matches it': (cache) => cache.page('/1', () => 'other'),
  };
  for (const [what, end] of Object.entries(ends)) {
    const clock = new ManualClock();
    const cache = await site({ clock });
    cache.revalidateTag('page-2');
    assert.equal(cache.tryGet('/1').cache, 'hit', `${what}: another page's tag`);
    end(cache, clock);
    assert.notEqual(cache.tryGet('/1')?.cache, 'hit', what);
    await cache.close();
  }
});

test('many pages go on to be hits as time goes by, each with its own body', async () => {
  const clock = new ManualClock();
  const cache = await site({ clock });
  const paths = Array.from({ length: 50 }, (_, n) => `/${n}`);
  for (const path of paths) await warm(cache, path);
  const before = cache.stats().hits;
  for (let second = 1; second <= 20; second++) {
    clock.advance(1.1);
    for (const path of paths) {
      const answer = cache.tryGet(path);
      assert.equal(answer.body.toString(), `${path} v1`);
      assert.equal(answer.age, Math.floor(second * 1.1 + 1e-9));
    }
  }
  assert.equal(cache.stats().hits, before + 20 * paths.length);
  cache.revalidateTag('page-7');
  assert.deepEqual(
    paths.filter((path) => cache.tryGet(path) === undefined),
    ['/7'],
  );
  await cache.close();
});

test('a newer page is given at once, by whatever way it came', async () => {
  const cache = await site();
  await cache.regenerate('/1');
  assert.equal(cache.tryGet('/1').body.toString(), '/1 v2');
  cache.put('/1', 'put', { started: cache.started() });
  assert.equal(cache.tryGet('/1').body.toString(), 'put');
  assert.equal(cache.tryGet('/1').body.toString(), 'put');
  await cache.close();
});

test('pages expire in real time', async () => {
  const cache = await site({}, { revalidate: 1, expire: 1 });
  const end = Date.now() + 20_000;
  while (cache.tryGet('/1')?.cache === 'hit') {
    assert.ok(Date.now() < end);
    await sleep(5);
  }
  assert.equal((await cache.get('/1')).body.toString(), '/1 v2');
  await cache.close();
});

test('an evicted page is no hit any more', async () => {
  const cache = await site({ maxBytes: 100_000 });
  for (let n = 2; n < 1500; n++) await warm(cache, `/${n}`);
  const paths = Array.from({ length: 1498 }, (_, n) => `/${n + 2}`);
  const missing = paths.filter((path) => cache.peek(path).state === 'missing');
  assert.ok(missing.length > 500 && missing.length < 1498, String(missing.length));
  assert.deepEqual(
    paths.filter((path) => cache.tryGet(path) === undefined),
    missing,
  );
  await cache.close();
});

test('a closed cache gives none', async () => {
  const cache = await site();
  await cache.close();
  assert.throws(() => cache.tryGet('/1'), { kind: 'closed' });
  await assert.rejects(async () => cache.get('/1'), { kind: 'closed' });
});

test('variants, drafts and queries are asked for in full', async () => {
  const cache = await site();
  assert.equal(cache.tryGet('/1', { variant: { lang: 'de' } }), undefined);
  assert.equal((await cache.get('/1', { draft: true })).cache, 'bypass');
  for (let n = 0; n < 3; n++) assert.equal(cache.tryGet('/1?utm=x').cache, 'hit');
  assert.throws(() => cache.tryGet(1), { kind: 'invalid_argument' });
  await cache.close();
});

test('an invalidation by a worker is seen here, and one here by the worker', async () => {
  const name = 'hits.test.mjs';
  const cache = await site({ name });
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     const { Cache } = require('libisr');
     const cache = new Cache({ name: workerData.name, backoffJitter: 0 });
     parentPort.on('message', async (todo) => {
       if (todo === 'invalidate') cache.revalidateTag('all');
       if (todo === 'close') await cache.close();
       parentPort.postMessage(todo === 'look' ? [1, 2, 3].map(() => cache.tryGet('/1')?.cache).at(-1) : todo);
       if (todo === 'close') parentPort.close();
     });
     cache.page('/[id]', { revalidate: 60, tags: ['all'] }, () => 'worker');
     parentPort.postMessage('open');`,
    { eval: true, workerData: { name } },
  );
  const said = () => new Promise((resolve) => worker.once('message', resolve));
  const ask = (todo) => {
    const answer = said();
    worker.postMessage(todo);
    return answer;
  };
  await said();
  await warm(cache, '/1');
  assert.equal(await ask('look'), 'hit');
  await ask('invalidate');
  assert.equal(cache.tryGet('/1'), undefined);
  await warm(cache, '/1');
  assert.equal(await ask('look'), 'hit');
  cache.revalidateTag('all');
  assert.notEqual(await ask('look'), 'hit');
  await warm(cache, '/1');
  await ask('close');
  assert.equal(cache.tryGet('/1').cache, 'hit', 'it goes on here');
  await cache.close();
});

test('a directory is looked at for each hit', async (t) => {
  const directory = folder(t);
  const cache = await site({ directory });
  const { status, stderr } = await program(
    `import { Cache } from 'libisr';
     const cache = new Cache({ directory: ${JSON.stringify(directory)} });
     cache.revalidateTag('all');
     await cache.close();`,
  );
  assert.equal(status, 0, stderr);
  assert.equal(cache.tryGet('/1'), undefined);
  await cache.close();
});

test('a process that has looked ends by itself', async () => {
  const { status, stderr } = await program(
    `import { Cache } from 'libisr';
     const cache = new Cache();
     cache.page('/', () => 'x');
     await cache.get('/');
     for (let n = 0; n < 100; n++) if (cache.tryGet('/').cache !== 'hit') process.exit(3);`,
  );
  assert.equal(status, 0, stderr);
});
