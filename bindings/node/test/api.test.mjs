import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import test from 'node:test';
import { inspect } from 'node:util';
import { Answer, notFound, Page, redirect } from 'libisr';
import { gate, isr, manualCache, until } from './helpers.mjs';

test('a miss is a promise, a hit the answer itself', async () => {
  const { cache } = manualCache();
  const jobs = [];
  cache.page('/blog/[id]', { revalidate: 60, tags: ['blog'] }, (job) => {
    jobs.push(job);
    return `post ${job.params.id}`;
  });
  const miss = cache.get('/blog/1?utm=x');
  assert.ok(miss instanceof Promise);
  const first = await miss;
  assert.equal(first.cache, 'miss');
  const hit = cache.get('/blog/1');
  assert.ok(hit instanceof Answer);
  assert.ok(hit.page instanceof Page);
  assert.equal(hit.cache, 'hit');
  assert.equal(hit.status, 200);
  assert.equal(hit.age, 0);
  assert.equal(hit.body.toString(), 'post 1');
  assert.equal(await hit, hit);
  const { path, pattern, params, variant, reason, draft, previous, cancelled } = jobs[0];
  assert.deepEqual(
    { path, pattern, params: { ...params }, variant: { ...variant }, reason, draft, previous, cancelled },
    {
      path: '/blog/1',
      pattern: '/blog/[id]',
      params: { id: '1' },
      variant: {},
      reason: 'miss',
      draft: false,
      previous: undefined,
      cancelled: true, // nobody waits any more
    },
  );
  await cache.close();
});

test('a page is one object while it is stored, and its body one buffer', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => ({
    body: Buffer.alloc(10_000, 'x'),
    headers: { 'Content-Type': 'text/plain' },
    tags: ['b', 'a'],
  }));
  const miss = await cache.get('/p');
  const hit = cache.get('/p');
  assert.equal(hit.page, miss.page);
  assert.equal(hit.body, miss.body);
  assert.deepEqual(hit.headers, [['content-type', 'text/plain']]);
  assert.equal(hit.page.header('CONTENT-TYPE'), 'text/plain');
  assert.equal(hit.page.header('x'), undefined);
  assert.deepEqual(hit.page.tags.sort(), ['a', 'b']);
  assert.equal(hit.page.path, '/p');
  assert.equal(hit.page.revalidate, false);
  assert.equal(hit.page.expire, false);
  assert.equal(hit.page.generated, 1_700_000_000);
  assert.match(hit.page.etag, /^"[0-9a-f]{32}"$/);
  await cache.close();
});

test('stale is answered at once, and the background render makes it new', async () => {
  const { cache, clock } = manualCache();
  let version = 0;
  const previous = [];
  cache.page('/p', { revalidate: 60 }, async (job) => {
    previous.push([job.reason, job.previous?.body.toString()]);
    version += 1;
    return `v${version}`;
  });
  await cache.get('/p');
  clock.advance(60);
  assert.equal(cache.get('/p').cache, 'hit');
  clock.advance(0.001);
  const stale = cache.get('/p');
  assert.equal(stale.cache, 'stale');
  assert.equal(stale.body.toString(), 'v1');
  assert.equal(stale.age, 60);
  await until(() => cache.get('/p').cache === 'hit');
  assert.equal(cache.get('/p').body.toString(), 'v2');
  assert.deepEqual(previous, [
    ['miss', undefined],
    ['stale', 'v1'],
  ]);
  await cache.close();
});

test('results: bytes, objects, notFound, redirect, headers in three forms', async () => {
  const { cache } = manualCache();
  const results = {
    bytes: new Uint8Array([1, 2, 3]),
    object: { body: 'x', status: 203, headers: { a: 'b', 'x-list': ['1', '2'] } },
    pairs: { headers: [['a', 'b']] },
    headers: { headers: new Headers({ a: 'b' }) },
    gone: notFound('no such page', { revalidate: 5 }),
    moved: redirect('/to', 308),
    found: redirect('/to'),
    live: { body: 'x', noStore: true },
  };
  cache.page('/[name]', (job) => results[job.params.name]);
  const bytes = await cache.get('/bytes');
  assert.deepEqual([...bytes.body], [1, 2, 3]);
  const object = await cache.get('/object');
  assert.equal(object.status, 203);
  assert.deepEqual(object.headers, [
    ['a', 'b'],
    ['x-list', '1'],
    ['x-list', '2'],
  ]);
  for (const name of ['pairs', 'headers']) {
    const answer = await cache.get(`/${name}`);
    assert.deepEqual(answer.headers, [['a', 'b']]);
    assert.equal(answer.body.length, 0);
  }
  const gone = await cache.get('/gone');
  assert.deepEqual([gone.status, gone.body.toString(), gone.page.revalidate], [404, 'no such page', 5]);
  const moved = await cache.get('/moved');
  assert.deepEqual([moved.status, moved.page.header('location')], [308, '/to']);
  assert.equal((await cache.get('/found')).status, 307);
  assert.equal((await cache.get('/live')).cache, 'bypass');
  assert.equal(cache.peek('/live').state, 'missing');
  await cache.close();
});

test('head: 304, HEAD, encodings, content-length', async () => {
  const { cache } = manualCache({ precompress: ['gzip'] });
  const text = 'compress me, please. '.repeat(500);
  cache.page('/p', { revalidate: 60 }, () => text);
  await cache.get('/p');
  const answer = cache.get('/p');
  const plain = answer.head();
  assert.equal(plain.status, 200);
  assert.equal(plain.body, answer.body);
  assert.equal(plain.contentLength, text.length);
  const etag = plain.headers.find(([name]) => name === 'etag')[1];
  const unchanged = answer.head({ ifNoneMatch: etag });
  assert.deepEqual([unchanged.status, unchanged.body.length, unchanged.contentLength], [304, 0, 0]);
  const head = answer.head({ method: 'HEAD' });
  assert.deepEqual([head.status, head.body.length, head.contentLength], [200, 0, text.length]);
  const gzip = answer.head({ acceptEncoding: 'gzip' });
  assert.ok(gzip.headers.some(([name, value]) => name === 'content-encoding' && value === 'gzip'));
  const { gunzipSync } = await import('node:zlib');
  assert.equal(gunzipSync(gzip.body).toString(), text);
  assert.equal(cache.get('/p').head({ acceptEncoding: 'gzip' }).body, gzip.body);
  await cache.close();
});

test('tryGet and peek start nothing', async () => {
  const { cache } = manualCache();
  let renders = 0;
  cache.page('/p', { revalidate: 60 }, () => `v${(renders += 1)}`);
  assert.equal(cache.tryGet('/p'), undefined);
  assert.deepEqual(cache.peek('/p'), { state: 'missing', age: 0, page: undefined });
  assert.equal(renders, 0);
  await cache.get('/p');
  assert.equal(cache.tryGet('/p').cache, 'hit');
  const { state, page } = cache.peek('/p');
  assert.deepEqual([state, page.body.toString()], ['fresh', 'v1']);
  await cache.close();
});

test('variants, drafts and prefetches', async () => {
  const { cache, clock } = manualCache();
  const seen = [];
  cache.page(
    '/p',
    { revalidate: 60, query: ['q', '__proto__', '2', '1'], vary: { lang: 'accept-language' } },
    (job) => {
      seen.push({ variant: Object.entries(job.variant).sort(), draft: job.draft });
      return JSON.stringify(Object.entries(job.variant).sort());
    },
  );
  const variant = JSON.parse('{"lang":"de","__proto__":"p"}');
  const first = await cache.get('/p?q=1&q=2&1=a', { variant });
  assert.equal(
    first.body.toString(),
    JSON.stringify([
      ['1', 'a'],
      ['__proto__', 'p'],
      ['lang', 'de'],
      ['q', ['1', '2']],
    ]),
  );
  assert.equal(cache.get('/p?1=a&q=1&q=2', { variant }).cache, 'hit');
  assert.equal(cache.peek('/p?1=a&q=1&q=2', { variant }).state, 'fresh');
  assert.equal(cache.peek('/p').state, 'missing');
  const draft = await cache.get('/p', { draft: true });
  assert.equal(draft.cache, 'bypass');
  assert.equal(seen.at(-1).draft, true);
  assert.equal(cache.peek('/p').state, 'missing');
  await cache.get('/p');
  clock.advance(61);
  const renders = seen.length;
  assert.equal(cache.get('/p', { prefetch: true }).cache, 'stale');
  assert.equal(cache.activity().running, 0);
  assert.equal(seen.length, renders);
  await cache.close();
});

test('regenerate, revalidatePath, revalidateTag, remove', async () => {
  const { cache } = manualCache();
  let n = 0;
  cache.page('/blog/[id]', { tags: ['all'] }, () => `v${(n += 1)}`);
  assert.equal(await cache.regenerate('/blog/1', { onlyGenerated: true }), undefined);
  const made = await cache.regenerate('/blog/1');
  assert.deepEqual([made.cache, made.body.toString()], ['miss', 'v1']);
  assert.equal((await cache.regenerate('/blog/1')).cache, 'revalidated');
  assert.equal(cache.revalidatePath('/blog/1'), true);
  assert.equal(cache.peek('/blog/1').state, 'expired');
  assert.equal((await cache.get('/blog/1')).cache, 'revalidated');
  assert.equal(cache.revalidatePath(['/nowhere', '/else']), false);
  assert.equal(cache.revalidatePath('/blog/[id]', 'page'), true);
  assert.throws(() => cache.revalidatePath('/blog/[id]'), isr('invalid_argument'));
  await cache.get('/blog/1');
  assert.equal(cache.revalidateTag(['all', 'x,y'], { soft: true, expire: 10 }), undefined);
  assert.equal(cache.peek('/blog/1').state, 'stale');
  cache.revalidateTag('all');
  assert.equal(cache.peek('/blog/1').state, 'expired');
  cache.remove('/blog/1');
  assert.equal(cache.peek('/blog/1').state, 'missing');
  await cache.close();
});

test('put stores a page with its epoch; an invalidation in between holds', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => 'rendered');
  const started = cache.started();
  assert.equal(typeof started, 'bigint');
  assert.equal(cache.put('/p', { body: 'put', tags: ['t'] }, { started }), true);
  assert.equal(cache.get('/p').body.toString(), 'put');
  const early = cache.started();
  cache.revalidateTag('t');
  cache.put('/p', { body: 'old', tags: ['t'] }, { started: early });
  assert.equal(cache.peek('/p').state, 'expired');
  assert.equal(cache.put('/p', { noStore: true }, { started: cache.started() }), false);
  assert.throws(() => cache.put('/p', 'x', { started: 1 }), isr('invalid_argument', 'started'));
  assert.throws(() => cache.put('/p', 'x', { started: -1n }), isr('invalid_argument', 'started'));
  assert.throws(() => cache.put('/p', 'x', { started: 1n << 64n }), isr('invalid_argument', 'started'));
  await cache.close();
});

test('prerender reports, and tells its progress', async () => {
  const { cache } = manualCache();
  const staticParams = [{ id: '1' }, { id: '2' }, { id: 'bad' }, JSON.parse('{"id":"a/b"}')];
  cache.page('/blog/[id]', { staticParams }, (job) => {
    if (job.params.id === 'bad') throw new RangeError('bad one');
    assert.equal(job.reason, job.params.id === '2' ? 'miss' : 'prerender');
    return 'x';
  });
  await cache.get('/blog/2');
  const seen = [];
  const report = await cache.prerender({ onProgress: (at) => seen.push(at) });
  assert.deepEqual([report.rendered, report.skipped, report.failed.length], [2, 1, 1]);
  const [{ path, error }] = report.failed;
  assert.equal(path, '/blog/bad');
  assert.ok(isr('render', 'bad one')(error));
  assert.ok(error.cause instanceof RangeError);
  assert.equal(seen.length, 4);
  assert.equal(seen.at(-1).total, 4);
  const thrown = new Error('from progress');
  await assert.rejects(
    cache.prerender({
      onProgress() {
        throw thrown;
      },
    }),
    (error) => error === thrown,
  );
  await cache.close();
});

test('draft tokens', async () => {
  const { cache, clock } = manualCache({ draftSecret: '0123456789abcdef' });
  const token = cache.draftToken(60);
  assert.equal(cache.verifyDraft(token), true);
  assert.equal(cache.verifyDraft(`${token}x`), false);
  assert.equal(cache.verifyDraft(undefined), false);
  clock.advance(61);
  assert.equal(cache.verifyDraft(token), false);
  assert.throws(() => cache.draftToken(false), isr('invalid_argument'));
  await cache.close();
});

test('stats and activity', async () => {
  const { cache } = manualCache();
  const held = gate();
  cache.page('/p', () => held.passed);
  const answer = cache.get('/p');
  await until(() => cache.activity().running === 1);
  held.open('x');
  await answer;
  cache.get('/p');
  const { hits, misses, renders, bytesStored } = cache.stats();
  assert.deepEqual([hits, misses, renders], [1, 1, 1]);
  assert.ok(bytesStored > 0);
  const { queued, running, waiting } = cache.activity();
  assert.deepEqual([queued, running, waiting], [0, 0, 0]);
  await cache.close();
});

test('many who wait share one render; a render may ask for other pages and not for its own', async () => {
  const { cache } = manualCache({ threads: 1 });
  let renders = 0;
  cache.page('/outer', async () => {
    renders += 1;
    const inner = await cache.get('/inner');
    await assert.rejects(async () => cache.get('/outer'), isr('invalid_argument'));
    return `<${inner.body}>`;
  });
  cache.page('/inner', () => 'inner');
  const answers = await Promise.all(Array.from({ length: 200 }, () => cache.get('/outer')));
  assert.ok(answers.every((answer) => answer.body.toString() === '<inner>'));
  assert.equal(renders, 1);
  await cache.close();
});

test('a render sees no async context of whoever asked', async () => {
  const { cache } = manualCache();
  const context = new AsyncLocalStorage();
  let seen = 'not called';
  cache.page('/p', () => {
    seen = context.getStore();
    return 'x';
  });
  await context.run('of a request', async () => {
    await cache.get('/p');
    assert.equal(context.getStore(), 'of a request');
  });
  assert.equal(seen, undefined);
  await cache.close();
});

test('a body stays readable after its page was evicted and the cache closed', async () => {
  const { cache } = manualCache({ maxBytes: 200_000 });
  cache.page('/[id]', (job) => job.params.id.repeat(50_000));
  const kept = (await cache.get('/a')).body;
  for (const id of 'bcdefgh') await cache.get(`/${id}`);
  assert.ok(cache.stats().evictions > 0);
  await cache.close();
  assert.equal(kept.toString(), 'a'.repeat(50_000));
  assert.equal(Buffer.compare(kept.subarray(0, 3), Buffer.from('aaa')), 0);
});

test('a body is not detached by a transfer', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => 'x'.repeat(1000));
  const { body } = await cache.get('/p');
  try {
    structuredClone(body.buffer, { transfer: [body.buffer] });
  } catch (error) {
    assert.equal(error.name, 'DataCloneError');
  }
  assert.equal(body.length, 1000);
  assert.equal(cache.get('/p').body.toString(), 'x'.repeat(1000));
  await cache.close();
});

test('close: new calls are refused, asyncDispose closes', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => 'x');
  assert.equal(cache.closed, false);
  await cache[Symbol.asyncDispose]();
  assert.equal(cache.closed, true);
  assert.equal(await cache.close(), true);
  await assert.rejects(async () => cache.get('/p'), isr('closed'));
  assert.throws(() => cache.page('/q', () => 'x'), isr('closed'));
});

test('inspect shows what is worth to know, and no private half', async () => {
  const { cache, clock } = manualCache();
  cache.page('/p', { revalidate: 60, tags: ['t'] }, () => 'body');
  await cache.get('/p');
  clock.advance(2);
  const answer = await cache.get('/p');
  const show = (value, options) => inspect(value, { breakLength: Infinity, ...options });
  assert.equal(show(answer), "Answer { cache: 'hit', path: '/p', status: 200, age: 2, bytes: 4 }");
  assert.equal(
    show(answer.page),
    "Page { path: '/p', status: 200, bytes: 4, tags: [ 't' ], revalidate: 60, expire: 31536000 }",
  );
  assert.equal(show(cache), 'Cache { closed: false, routes: 1, hits: 1, misses: 1, renders: 1 }');
  assert.equal(show({ a: { cache, answer } }, { depth: 0 }), '{ a: [Object] }');
  assert.equal(show({ cache, page: answer.page }, { depth: 0 }), '{ cache: [Cache], page: [Page] }');
  await cache.close();
  assert.match(show(cache), /^Cache \{ closed: true,/);
});
