import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { Cache, ManualClock, notFound, redirect } from 'libisr';
import { handler } from 'libisr/http';
import { isr, manualCache } from './helpers.mjs';

const native = createRequire(import.meta.url)('../isr.node');
const WRONG = [undefined, null, 7, true, Symbol('s'), () => {}, {}, [1]];

test('every option of the core is in the types, with those of the binding', () => {
  const types = readFileSync(new URL('../lib/options.ts', import.meta.url), 'utf8');
  const body = types.slice(types.indexOf('interface CacheOptions'), types.indexOf('/** Parameters by name'));
  const names = [...body.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
  assert.deepEqual(names.sort(), [...native.optionNames(), 'clock', 'onFailure', 'onTrouble'].sort());
});

test('options of a cache', () => {
  const ok = {
    deployment: 'd',
    maxBytes: 1e6,
    maxEntryBytes: 1000,
    staleIfError: false,
    backoffJitter: 0.5,
    maxQueue: 0,
    threads: 1,
    maxRegenerations: 1,
    maxRegenerationsPerTag: false,
    earlyRefresh: 0.5,
    defaultRevalidate: 60,
    defaultExpire: false,
    defaultTimeout: 0.5,
    maxVariants: 1,
    maxInvalidations: 1,
    storableStatuses: [200, 404],
    draftSecret: '0123456789abcdef',
    precompress: ['br', 'gzip', 'zstd'],
    maxDiskBytes: 1 << 20,
    durable: true,
    name: 'arguments',
    clock: undefined,
    onFailure: () => {},
    onTrouble: () => {},
  };
  for (const [name, value] of Object.entries(ok)) new Cache({ [name]: value });
  const wrong = {
    deployment: [7, '\ud800'],
    maxBytes: [-1, 1.5, Number.NaN, 'x', {}],
    staleIfError: [-1, true, 'never', null],
    backoffJitter: [2, false],
    threads: [0, 0.5, '8'],
    maxRegenerations: [0, 0.5, '8'],
    maxRegenerationsPerTag: [0, true],
    earlyRefresh: [-1, 100.5, false],
    defaultTimeout: [-1, Number.POSITIVE_INFINITY],
    storableStatuses: [[500], ['x'], 200],
    draftSecret: ['short'],
    precompress: [['lzma'], [{}]],
    clock: [{}, 7, Date],
    directory: ['', '\ud800', 7, true],
    maxDiskBytes: [-1, 0.5, '8'],
    durable: [1, 0, 'true', null],
    name: ['', 7, false, ['a'], '\ud800'],
    onFailure: [null, {}, 'x', true],
    onTrouble: [null, {}, 'x', true],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      assert.throws(
        () => new Cache({ [name]: value }),
        isr('invalid_argument', name === 'storableStatuses' ? '' : name),
        `${name}: ${String(value)}`,
      );
    }
  }
  assert.throws(
    () => new Cache({ maxBytez: 1 }),
    isr('invalid_argument', 'unknown option "maxBytez"; known are clock, onFailure, onTrouble, deployment, maxBytes'),
  );
  assert.throws(() => new Cache({ max_bytes: 1 }), isr('invalid_argument', 'unknown option "max_bytes"'));
  assert.throws(() => new Cache(JSON.parse('{"__proto__":1}')), isr('invalid_argument', '__proto__'));
  for (const value of [null, 7, 'x', []]) assert.throws(() => new Cache(value), isr('invalid_argument', 'options'));
});

test('options of a route', () => {
  const { cache } = manualCache();
  const render = () => 'x';
  const wrong = {
    revalidate: [-1, true, '60', null, Number.NaN],
    expire: [-1, {}],
    timeout: [-1, 'x'],
    maxConcurrent: [0, 1.5, true, '1', null],
    earlyRefresh: [-1, 101, false, '1'],
    dynamicParams: [0, 'no'],
    staticParams: [{}, [7], [{ id: 7 }], [{ id: [7] }], [{}], [{ other: 'x' }]],
    tags: ['x', [7]],
    query: ['x', [7]],
    vary: [[], { lang: 7 }],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      assert.throws(
        () => cache.page('/b/[id]', { [name]: value }, render),
        isr('invalid_argument'),
        `${name}: ${JSON.stringify(value)}`,
      );
    }
  }
  assert.throws(() => cache.page('/b/[id]', { tags: [''] }, render), isr('invalid_tag'));
  assert.throws(
    () => cache.page('/b/[id]', { revalidat: 1 }, render),
    isr('invalid_argument', "unknown key 'revalidat' in route options"),
  );
  for (const pattern of WRONG) assert.throws(() => cache.page(pattern, render), isr('invalid_argument', 'pattern'));
  assert.throws(() => cache.page('no-slash', render), isr('invalid_argument'));
  for (const wrong of [undefined, null, 'x', {}])
    assert.throws(() => cache.page('/b/[id]', {}, wrong), isr('invalid_argument', 'render'));
  // Nothing of that was added.
  assert.throws(() => cache.peek('/b/1'), isr('no_route'));
  cache.page('/b/[id]', render);
  assert.throws(() => cache.page('/b/[name]', render), isr('conflict', '/b/[name]'));
});

test('arguments of every call', async () => {
  const { cache } = manualCache();
  cache.page('/p', { staticParams: [] }, () => 'x');
  const rejected = async (call, text) => assert.rejects(async () => call(), isr('invalid_argument', text));
  for (const wrong of WRONG) {
    await rejected(() => cache.get(wrong), 'path');
    await rejected(() => cache.regenerate(wrong), 'path');
    assert.throws(() => cache.tryGet(wrong), isr('invalid_argument', 'path'));
    assert.throws(() => cache.peek(wrong), isr('invalid_argument', 'path'));
    assert.throws(() => cache.put(wrong, 'x', { started: 0n }), isr('invalid_argument', 'path'));
    assert.throws(() => cache.revalidatePath(wrong), isr('invalid_argument', 'path'));
    assert.throws(() => cache.remove(wrong), isr('invalid_argument', 'path'));
    assert.throws(() => cache.revalidateTag(wrong), isr('invalid_argument', 'tag'));
    assert.throws(() => new ManualClock().advance(wrong === 7 ? -1 : wrong), isr('invalid_argument', 'advance'));
    await rejected(() => cache.data(wrong, () => 1), 'key');
    assert.throws(() => handler(wrong), isr('invalid_argument', 'cache'));
    assert.throws(() => redirect(wrong), isr('invalid_argument', 'to'));
    if (wrong !== undefined) {
      assert.throws(() => cache.revalidatePath('/p', wrong), isr('invalid_argument', 'type'));
      await rejected(() => cache.close({ timeout: wrong === 7 ? -7 : wrong }), 'timeout');
    }
    if (typeof wrong !== 'function') {
      await rejected(() => cache.data('k', wrong), 'load');
      if (wrong !== undefined) await rejected(() => cache.prerender({ onProgress: wrong }), 'onProgress');
    }
    if (wrong !== 7) {
      assert.throws(() => cache.draftToken(wrong), isr('invalid_argument', 'validFor'));
      if (wrong !== undefined) assert.throws(() => new ManualClock(wrong), isr('invalid_argument', 'start'));
    }
    if (wrong !== undefined && wrong !== true) {
      await rejected(() => cache.get('/p', { draft: wrong }), 'draft');
      await rejected(() => cache.get('/p', { prefetch: wrong }), 'prefetch');
      await rejected(() => cache.regenerate('/p', { onlyGenerated: wrong }), 'onlyGenerated');
      assert.throws(() => cache.revalidateTag('t', { soft: wrong }), isr('invalid_argument', 'soft'));
    }
  }
  for (const options of [null, 7, 'x', [], { unknown: 1 }]) {
    await rejected(() => cache.get('/p', options), 'get options');
    await rejected(() => cache.regenerate('/p', options), 'regenerate options');
    await rejected(() => cache.prerender(options), 'prerender options');
    await rejected(() => cache.close(options), 'close options');
    await rejected(() => cache.data('k', () => 1, options), 'data options');
    assert.throws(() => cache.peek('/p', options), isr('invalid_argument', 'peek options'));
    assert.throws(() => cache.put('/p', 'x', options), isr('invalid_argument', 'put options'));
    assert.throws(() => cache.revalidateTag('t', options), isr('invalid_argument', 'revalidateTag options'));
    assert.throws(() => handler(cache, options), isr('invalid_argument', 'handler options'));
  }
  for (const variant of [null, 7, [], { lang: 7 }, { lang: '\udc00' }]) {
    await rejected(() => cache.get('/p', { variant }), 'variant');
  }
  await assert.rejects(async () => cache.get('/p\ud800'), isr('invalid_path', 'well-formed'));
  await assert.rejects(async () => cache.get('p'), isr('invalid_path'));
  await assert.rejects(async () => cache.get('/p\0'), isr('invalid_path'));
  await assert.rejects(async () => cache.get(`/${'x'.repeat(1e6)}`), isr('invalid_path'));
  await assert.rejects(async () => cache.get('/nowhere'), isr('no_route', '/nowhere'));
  assert.throws(() => cache.revalidateTag(['ok', 'x'.repeat(257)]), isr('invalid_tag'));
  assert.throws(() => cache.revalidateTag('t', { expire: 5 }), isr('invalid_argument', 'expire'));
  assert.throws(() => cache.revalidatePath('/p', 'pages'), isr('invalid_argument', '"pages"'));
  await rejected(() => cache.data([], () => 1), '');
  await assert.rejects(
    cache.data('k', () => 1, { tags: [''] }),
    isr('invalid_tag'),
  );
  await rejected(() => cache.data('k', () => 1, { revalidate: -1 }), 'revalidate');
  // The cache is none the worse.
  assert.equal((await cache.get('/p')).body.toString(), 'x');
  const answer = cache.get('/p');
  for (const options of [null, 7, { etag: 'x' }, { method: 7 }, { ifNoneMatch: 7 }, { acceptEncoding: [] }]) {
    assert.throws(() => answer.head(options), isr('invalid_argument'));
  }
  assert.throws(() => answer.page.header(7), isr('invalid_argument', 'name'));
  await cache.close();
});

test('a Promise, a Map or the like is no empty object', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => 'x');
  class Mine {}
  for (const value of [Promise.resolve({}), new Map([['lang', 'de']]), new Date(), new Headers(), new Mine()]) {
    const { name } = value.constructor;
    const text = (what) => isr('invalid_argument', `${what} must be a plain object; got ${name}`);
    assert.throws(() => new Cache(value), text('options'));
    assert.throws(() => cache.page('/q', value, () => 'x'), text('route options'));
    assert.throws(() => cache.page('/q', { vary: value }, () => 'x'), text('vary'));
    assert.throws(() => cache.tryGet('/p', value), text('get options'));
    assert.throws(() => cache.peek('/p', { variant: value }), text('variant'));
    assert.throws(() => cache.revalidateTag('t', value), text('revalidateTag options'));
    await assert.rejects(async () => cache.get('/p', { variant: value }), text('variant'));
    await assert.rejects(cache.regenerate('/p', value), text('regenerate options'));
    await assert.rejects(cache.close(value), text('close options'));
    assert.throws(() => notFound('', value), text('notFound options'));
    assert.throws(() => redirect('/', 307, value), text('redirect options'));
  }
  assert.equal((await cache.get('/p', Object.assign(Object.create(null), { draft: false }))).cache, 'miss');
  await cache.close();
});

test('redirect and notFound', async () => {
  const { cache } = manualCache();
  const ok = {
    '/a': '/a',
    'https://example.org/%C3%A9?q=a%20b&c=d;e#f': 'https://example.org/%C3%A9?q=a%20b&c=d;e#f',
    '/é/日本/😀 x': '/%C3%A9/%E6%97%A5%E6%9C%AC/%F0%9F%98%80%20x',
  };
  const goals = Object.keys(ok);
  cache.page('/[n]', (job) => redirect(goals[job.params.n]));
  for (const [n, to] of goals.entries()) {
    assert.equal((await cache.get(`/${n}`)).page.header('location'), ok[to]);
  }
  await cache.close();
  assert.throws(() => redirect('/\ud800'), isr('invalid_argument', 'well-formed'));
  for (const status of [301, 302, 303, 307, 308]) assert.equal(redirect('/', status).status, status);
  for (const status of [200, 300, 304, 404, '301', Number.NaN, null]) {
    assert.throws(() => redirect('/', status), isr('invalid_argument', 'one of 301, 302, 303, 307, 308; got'));
  }
  const more = { revalidate: 5, expire: false, tags: ['t'], noStore: true, remove: false };
  assert.deepEqual(redirect('/', 301, { ...more, body: 'b' }), {
    ...more,
    status: 301,
    headers: { location: '/' },
    body: 'b',
  });
  assert.deepEqual(notFound('b', { ...more, headers: { a: 'b' } }), {
    ...more,
    status: 404,
    headers: { a: 'b' },
    body: 'b',
  });
  assert.deepEqual(notFound(), { status: 404, body: '' });
  for (const wrong of [{ headers: {} }, { status: 308 }, { tag: 't' }]) {
    assert.throws(() => redirect('/', 307, wrong), isr('invalid_argument', 'in redirect options; known are body'));
  }
  for (const wrong of [{ status: 410 }, { body: 'x' }, { tag: 't' }]) {
    assert.throws(() => notFound('x', wrong), isr('invalid_argument', 'in notFound options; known are headers'));
  }
});

test('messages speak JavaScript', async () => {
  const { cache } = manualCache();
  cache.page('/p/[id]', () => 'x');
  const said = (error) => !/_|Duration/.test(error.message) && error.kind === 'invalid_argument';
  assert.throws(() => cache.revalidatePath('/p/[id]'), said);
  assert.throws(() => cache.revalidatePath('/p/[id]'), isr('invalid_argument', 'revalidatePath of the pattern'));
  assert.throws(() => cache.revalidateTag('t', { expire: 5 }), isr('invalid_argument', 'revalidateTag takes expire'));
  for (const timeout of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e10]) {
    const text = `timeout must be a number of seconds, 0 to 1000000000; got ${timeout}`;
    await assert.rejects(cache.close({ timeout }), (error) => said(error) && error.message === text);
  }
  await cache.close();
});

test('what an argument of the caller throws comes out as it is', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => 'x');
  const thrown = new Error('from a getter');
  const options = {
    get draft() {
      throw thrown;
    },
  };
  await assert.rejects(
    async () => cache.get('/p', options),
    (error) => error === thrown,
  );
  assert.throws(
    () => cache.tryGet('/p', options),
    (error) => error === thrown,
  );
  const { get } = cache;
  await assert.rejects(async () => get('/p'), TypeError);
  await cache.close();
});
