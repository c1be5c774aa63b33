import assert from 'node:assert/strict';
import test from 'node:test';
import { gate, isr, manualCache, until } from './helpers.mjs';

test('a value is loaded once for all who ask at the same time', async () => {
  const { cache } = manualCache();
  const held = gate();
  let loads = 0;
  const load = async (job) => {
    loads += 1;
    assert.deepEqual(job.key, ['post', '1']);
    assert.equal(job.cancelled, false);
    await held.passed;
    return { title: 'é', list: [1, null] };
  };
  cache.page('/[id]', async (job) => JSON.stringify(await job.data(['post', '1'], load, { tags: ['post:1'] })));
  const asked = [cache.get('/a'), cache.get('/b'), cache.data(['post', '1'], load, { tags: ['post:1'] })];
  await until(() => loads === 1);
  held.open();
  const [a, b, value] = await Promise.all(asked);
  assert.deepEqual(value, { title: 'é', list: [1, null] });
  assert.deepEqual(JSON.parse(a.body.toString()), value);
  assert.deepEqual(JSON.parse(b.body.toString()), value);
  assert.equal(loads, 1);
  assert.deepEqual(a.page.tags, ['post:1']);
  assert.equal((await cache.dataAnswer(['post', '1'], load)).cache, 'hit');
  cache.revalidateTag('post:1');
  assert.equal(cache.peek('/a').state, 'expired');
  await cache.close();
});

test('values are JSON text or bytes', async () => {
  const { cache } = manualCache();
  for (const value of ['text', 1.5, true, null, [], {}, JSON.parse('{"__proto__":1}')]) {
    const key = JSON.stringify(value);
    assert.deepEqual(await cache.data(key, () => value), value);
    assert.deepEqual(await cache.data(key, () => assert.fail('stored')), value);
  }
  const bytes = await cache.data('bytes', () => new Uint8Array([0xff, 0]), { raw: true });
  assert.ok(Buffer.isBuffer(bytes));
  assert.deepEqual([...bytes], [0xff, 0]);
  assert.equal((await cache.data('empty', () => Buffer.alloc(0), { raw: true })).length, 0);
  await assert.rejects(
    cache.data('bytes', () => 1),
    isr('invalid_argument', 'not JSON'),
  );
  assert.equal((await cache.data('1.5', () => 1, { raw: true })).toString(), '1.5');
  for (const wrong of [undefined, () => {}, Symbol('s')]) {
    await assert.rejects(
      cache.data('wrong', () => wrong),
      isr('render', 'JSON form'),
    );
  }
  await assert.rejects(
    cache.data('big', () => 1n),
    isr('render', 'BigInt'),
  );
  await assert.rejects(
    cache.data('raw', () => 'text', { raw: true }),
    isr('render', 'must be a Uint8Array or ArrayBuffer'),
  );
  await cache.close();
});

test('a failed load has its cause, and fails the render unless it is handled', async () => {
  const { cache } = manualCache();
  const down = new Error('down');
  const load = async () => {
    throw down;
  };
  cache.page('/fails', async (job) => job.data('k', load));
  cache.page('/handles', async (job) => job.data('k', load).catch((error) => `handled ${error.cause.message}`));
  await assert.rejects(cache.data('k', load), (error) => isr('render', 'down')(error) && error.cause === down);
  await assert.rejects(
    async () => cache.get('/fails'),
    (error) => isr('render')(error) && isr('render', 'down')(error.cause) && error.cause.cause === down,
  );
  assert.equal((await cache.get('/handles')).body.toString(), 'handled down');
  await cache.close();
});

test('stale outside of a render: the old value at once, one load behind it; inside: the new one', async () => {
  const { cache, clock } = manualCache();
  let loads = 0;
  const load = async () => (loads += 1);
  const read = () => cache.dataAnswer('k', load, { revalidate: 60 });
  cache.page('/p', async (job) => String(await job.data('k', load, { revalidate: 60 })));
  assert.deepEqual(await read(), { value: 1, cache: 'miss' });
  clock.advance(61);
  assert.deepEqual(await read(), { value: 1, cache: 'stale' });
  await until(() => loads === 2 && cache.activity().running === 0);
  assert.deepEqual(await read(), { value: 2, cache: 'hit' });
  clock.advance(61);
  const page = await cache.get('/p');
  assert.equal(page.body.toString(), '3');
  assert.equal(page.page.revalidate, 60);
  await cache.close();
});

test('nested reads count for the entry that reads them, by whichever handle they are made', async () => {
  const { cache } = manualCache();
  const inner = (tag) => [tag, () => tag, { tags: [tag] }];
  cache.page('/p', async (job) =>
    job.data('outer', async (load) => {
      await load.data(...inner('by-load'));
      await job.data(...inner('by-job'));
      await cache.data(...inner('by-cache'));
      return 'outer';
    }),
  );
  await cache.get('/p');
  const tags = ['by-cache', 'by-job', 'by-load'];
  assert.deepEqual(cache.peek('/p').page.tags.sort(), tags);
  // A page that reads the stored outer entry alone has them, too.
  cache.page('/q', (job) => job.data('outer', () => assert.fail('stored')));
  await cache.get('/q');
  assert.deepEqual(cache.peek('/q').page.tags.sort(), tags);
  await cache.close();
});

test('cache.data inside a render counts for it', async () => {
  const { cache } = manualCache();
  cache.page('/p', async () => {
    await new Promise((go) => setImmediate(go));
    return cache.data('k', () => 'v', { tags: ['t'], revalidate: 7 });
  });
  const { page } = await cache.get('/p');
  assert.deepEqual([page.tags, page.revalidate], [['t'], 7]);
  await cache.close();
});

test('a load that would wait for itself is refused', async () => {
  const { cache } = manualCache();
  await assert.rejects(
    cache.data('k', (job) => job.data('k', () => 1)),
    (error) => isr('render')(error) && isr('invalid_argument')(error.cause),
  );
  const second = () => cache.data('a', first);
  const first = () => cache.data('b', second);
  await assert.rejects(cache.data('a', first), isr('render'));
  await cache.close();
});

test('revalidate 0 is not stored, keys are lists', async () => {
  const { cache } = manualCache();
  assert.equal((await cache.dataAnswer('k', () => 1, { revalidate: 0 })).cache, 'bypass');
  await cache.data(['a', 'b'], () => 1);
  assert.equal(await cache.data(['a,b'], () => 2), 2);
  assert.equal(await cache.data('a,b', () => 3), 2);
  await cache.close();
});
