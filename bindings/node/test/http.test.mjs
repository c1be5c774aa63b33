import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import test from 'node:test';
import { redirect } from 'libisr';
import { handler } from 'libisr/http';
import { gate, manualCache } from './helpers.mjs';

/** Serves a listener on a free loopback port while `use` runs; `ask` makes a request of it. */
async function serving(listener, use) {
  const server = http.createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const ask = async (path, { method = 'GET', headers = {} } = {}) => {
    const request = http.request({ port: server.address().port, path, method, headers, agent: false }).end();
    const [response] = await once(request, 'response');
    let body = '';
    for await (const part of response.setEncoding('utf8')) body += part;
    return { status: response.statusCode, reason: response.statusMessage, headers: response.headers, body };
  };
  try {
    await use(ask);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test('answers, 304, HEAD, several cookies', async () => {
  const { cache } = manualCache();
  cache.page('/p', { revalidate: 60 }, () => ({ body: 'é', headers: { 'content-type': 'text/html' } }));
  cache.page('/cookies', () => ({ body: 'x', headers: { 'set-cookie': ['a=1', 'b=2'] } }));
  await serving(handler(cache), async (ask) => {
    const miss = await ask('/p?utm=1');
    assert.deepEqual([miss.status, miss.body, miss.headers['x-isr-cache']], [200, 'é', 'MISS']);
    assert.equal(miss.headers['content-length'], '2');
    assert.equal(miss.headers['cache-control'], 's-maxage=60, stale-while-revalidate=31535940');
    const hit = await ask('/p');
    assert.equal(hit.headers['x-isr-cache'], 'HIT');
    const head = await ask('/p', { method: 'HEAD' });
    assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', '2']);
    const unchanged = await ask('/p', { headers: { 'if-none-match': hit.headers.etag } });
    assert.deepEqual([unchanged.status, unchanged.body, unchanged.headers['content-length']], [304, '', undefined]);
    const cookies = await ask('/cookies');
    assert.deepEqual(cookies.headers['set-cookie'], ['a=1', 'b=2']);
  });
  await cache.close();
});

test('errors get the status of the table, and say nothing more', async () => {
  const { cache } = manualCache({ threads: 1, maxQueue: 0 });
  const held = gate();
  cache.page('/fails', () => {
    throw new Error('secret');
  });
  cache.page('/held', () => held.passed);
  await serving(handler(cache), async (ask) => {
    const expected = { '/nowhere': 404, '/a/../b': 400, '/%zz': 400, '/fails': 500 };
    for (const [path, status] of Object.entries(expected)) {
      const answer = await ask(path);
      assert.equal(answer.status, status, path);
      assert.equal(answer.headers['cache-control'], 'private, no-cache, no-store, max-age=0, must-revalidate');
      assert.doesNotMatch(answer.body, /secret/);
    }
    const post = await ask('/fails', { method: 'POST' });
    assert.deepEqual([post.status, post.headers.allow], [405, 'GET, HEAD']);
    const late = ask('/held');
    while (cache.activity().running === 0) await new Promise((go) => setImmediate(go));
    assert.equal((await ask('/fails?')).status, 500); // in back-off: no place is needed
    cache.page('/other', () => 'x');
    assert.equal((await ask('/other')).status, 503);
    held.open('x');
    assert.equal((await late).status, 200);
    await cache.close();
    assert.equal((await ask('/held')).status, 503);
  });
});

test('variant, draft, prefetch and onError are asked', async () => {
  const { cache, clock } = manualCache();
  cache.page('/p', { revalidate: 60, vary: { lang: 'accept-language' } }, (job) => `${job.variant.lang} ${job.draft}`);
  const listener = handler(cache, {
    variant: (request) => ({ lang: request.headers['accept-language'] ?? 'en' }),
    draft: (request) => request.headers.cookie === 'draft=1',
    prefetch: (request) => request.headers.purpose === 'prefetch',
    onError(error, request, response, status) {
      response.writeHead(status).end(`${error.code} ${request.url}`);
    },
  });
  await serving(listener, async (ask) => {
    const german = await ask('/p', { headers: { 'accept-language': 'de' } });
    assert.deepEqual([german.body, german.headers.vary], ['de false', 'accept-language']);
    assert.equal((await ask('/p')).body, 'en false');
    const draft = await ask('/p', { headers: { cookie: 'draft=1' } });
    assert.deepEqual([draft.body, draft.headers['x-isr-cache']], ['en true', 'BYPASS']);
    clock.advance(61);
    const renders = cache.stats().renders;
    assert.equal((await ask('/p', { headers: { purpose: 'prefetch' } })).headers['x-isr-cache'], 'STALE');
    assert.equal(cache.stats().renders, renders);
    const error = await ask('/nowhere');
    assert.deepEqual([error.status, error.body], [404, 'ISR_NO_ROUTE /nowhere']);
  });
  await cache.close();
});

test('next gets what is not for the cache, and a throwing option is an error 500', async () => {
  const { cache } = manualCache();
  cache.page('/p', () => 'x');
  const listener = handler(cache);
  const next = (request, response) => listener(request, response, () => response.writeHead(418).end('next'));
  await serving(next, async (ask) => {
    assert.equal((await ask('/nowhere')).status, 418);
    assert.equal((await ask('/p', { method: 'POST' })).status, 418);
    assert.equal((await ask('/p')).status, 200);
  });
  const throwing = handler(cache, {
    variant() {
      throw new Error('from variant');
    },
  });
  await serving(throwing, async (ask) => assert.equal((await ask('/p')).status, 500));
  await cache.close();
});

test('header values are sent as UTF-8', async () => {
  const { cache } = manualCache();
  const title = 'é 日本 😀';
  cache.page('/p', () => ({ body: 'x', headers: { 'x-title': title, 'x-latin': 'é' } }));
  cache.page('/moved', () => redirect('/日本 é'));
  await serving(handler(cache), async (ask) => {
    const { status, headers } = await ask('/p');
    assert.equal(status, 200);
    assert.equal(Buffer.from(headers['x-title'], 'latin1').toString(), title);
    assert.equal(Buffer.from(headers['x-latin'], 'latin1').toString(), 'é');
    assert.equal((await ask('/moved')).headers.location, '/%E6%97%A5%E6%9C%AC%20%C3%A9');
  });
  await cache.close();
});

test('an answer whose head cannot be written is an error 500 by name', async (t) => {
  const told = t.mock.method(console, 'error', () => {});
  const { cache } = manualCache();
  cache.page('/p', () => 'x');
  const listener = handler(cache);
  const breaking = (request, response) => {
    const { writeHead } = response;
    response.writeHead = (status) => {
      response.writeHead = writeHead;
      response.setHeader('content-encoding', 'br');
      return writeHead.call(response, status, ['x-bad', '\n']);
    };
    listener(request, response);
  };
  await serving(breaking, async (ask) => {
    const { status, reason, headers, body } = await ask('/p');
    assert.deepEqual([status, reason, body], [500, 'Internal Server Error', 'Internal Server Error\n']);
    assert.equal(headers['content-encoding'], undefined);
  });
  assert.match(told.mock.calls[0].arguments[0], /^libisr: GET \/p: Invalid character in header content/);
  await cache.close();
});

test('options may answer by a promise', async (t) => {
  const told = t.mock.method(console, 'error', () => {});
  const { cache } = manualCache();
  cache.page('/p', { revalidate: 60 }, (job) => `${job.variant.lang} ${job.draft}`);
  const listener = handler(cache, {
    variant: async (request) => {
      if (request.headers['x-fail']) throw new Error('no variant');
      return { lang: 'de' };
    },
    draft: async (request) => {
      if (request.headers['x-fail'] === 'twice') throw new Error('no draft');
      return request.headers.cookie === 'draft=1';
    },
    prefetch: (request) => {
      if (request.headers['x-fail'] === 'thrice') throw new Error('no prefetch');
      return Promise.resolve(false);
    },
  });
  await serving(listener, async (ask) => {
    assert.equal((await ask('/p')).body, 'de false');
    assert.equal((await ask('/p')).headers['x-isr-cache'], 'HIT');
    assert.equal((await ask('/p', { headers: { cookie: 'draft=1' } })).body, 'de true');
    for (const fail of ['once', 'twice', 'thrice']) {
      assert.equal((await ask('/p', { headers: { 'x-fail': fail } })).status, 500);
    }
  });
  assert.deepEqual(
    told.mock.calls.map((call) => call.arguments),
    [['libisr: GET /p: no variant'], ['libisr: GET /p: no prefetch']],
  );
  await cache.close();
});

test('an onError that throws, rejects, or has begun to answer', async (t) => {
  const told = t.mock.method(console, 'error', () => {});
  const { cache } = manualCache();
  const does = {
    '/throws': (response) => {
      response.setHeader('content-type', 'text/html').setHeader('etag', '"x"');
      throw new Error('down');
    },
    '/rejects': () => Promise.reject(new Error('down\nagain')),
    '/ended': async (response) => {
      response.writeHead(418).end('mine');
      throw new Error('late');
    },
    '/begun': (response) => {
      response.writeHead(418).write('half');
      throw new Error('too late');
    },
  };
  const onError = (_error, request, response) => does[request.url](response);
  await serving(handler(cache, { onError }), async (ask) => {
    for (const path of ['/throws', '/rejects']) {
      const { status, headers, body } = await ask(path);
      assert.deepEqual([status, body, headers.etag], [404, 'Not Found\n', undefined], path);
      assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
    }
    const mine = await ask('/ended');
    assert.deepEqual([mine.status, mine.body], [418, 'mine']);
    await assert.rejects(ask('/begun'));
  });
  assert.deepEqual(
    told.mock.calls.map((call) => call.arguments[0]),
    Object.entries({ throws: 'down', rejects: 'down again', ended: 'late', begun: 'too late' }).map(
      ([name, text]) => `libisr: GET /${name}: ISR_NO_ROUTE no route matches "/${name}"; onError failed: ${text}`,
    ),
  );
  await cache.close();
});

test('failures are told once, in one line, until the page answers again', async (t) => {
  const told = t.mock.method(console, 'error', () => {});
  const lines = () => {
    const { calls } = told.mock;
    told.mock.resetCalls();
    return calls.map((call) => call.arguments[0]);
  };
  const { cache, clock } = manualCache({ staleIfError: 0 });
  let error = new Error('first\r\nline');
  cache.page('/p', () => {
    if (error) throw error;
    return { body: 'x', noStore: true };
  });
  await serving(handler(cache), async (ask) => {
    for (const path of ['/p?token=1', '/p', '/p']) assert.equal((await ask(path)).status, 500);
    assert.deepEqual(lines(), ['libisr: GET /p: ISR_RENDER first line']);
    error = new Error('second');
    clock.advance(3600);
    assert.equal((await ask('/p', { method: 'HEAD' })).status, 500);
    assert.deepEqual(lines(), ['libisr: HEAD /p: ISR_RENDER second']);
    const failed = error;
    error = undefined;
    clock.advance(3600);
    assert.equal((await ask('/p')).status, 200);
    error = failed;
    assert.equal((await ask('/p')).status, 500);
    assert.deepEqual(lines(), ['libisr: GET /p: ISR_RENDER second']);
    for (const path of ['/nowhere', '/a/../b']) await ask(path);
    assert.deepEqual(lines(), []);
  });
  await serving(handler(cache, { onError: (_error, _request, response) => void response.writeHead(500).end() }), (ask) =>
    ask('/p'),
  );
  assert.deepEqual(lines(), []);
  await cache.close();
});
