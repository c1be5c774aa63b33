import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';
import { runInNewContext } from 'node:vm';
import { ERROR_KINDS, IsrError } from 'libisr';
import { gate, isr, manualCache, until } from './helpers.mjs';

const native = createRequire(import.meta.url)('../isr.node');

test('the table of errors is that of the core', () => {
  assert.deepEqual(
    native.errorKinds().map(({ kind }) => kind),
    [...ERROR_KINDS],
  );
  for (const kind of ERROR_KINDS) {
    const error = new IsrError(kind, 'text', { cause: 1 });
    assert.equal(error.name, 'IsrError');
    assert.equal(error.code, `ISR_${kind.toUpperCase()}`);
    assert.equal(error.cause, 1);
  }
});

test('a panic in the addon is an error, and the process goes on', () => {
  assert.throws(() => native.panicForTests(), /a panic on purpose/);
});

test('what a callback throws or rejects with is the cause of the error that all waiters get', async () => {
  const { cache } = manualCache();
  const thrown = {
    error: new TypeError('an error'),
    text: 'a text',
    nothing: undefined,
    null: null,
    symbol: Symbol('s'),
    bare: Object.create(null),
    nasty: {
      get message() {
        throw new Error('from the getter');
      },
    },
  };
  cache.page('/sync/[name]', (job) => {
    throw thrown[job.params.name];
  });
  cache.page('/async/[name]', async (job) => {
    throw thrown[job.params.name];
  });
  for (const name of Object.keys(thrown)) {
    for (const kind of ['sync', 'async']) {
      const waiters = [cache.get(`/${kind}/${name}`), cache.get(`/${kind}/${name}`)];
      for (const { reason } of await Promise.allSettled(waiters)) {
        assert.ok(isr('render')(reason), `${kind} ${name}: ${reason}`);
        assert.equal(reason.cause, thrown[name]);
      }
    }
  }
  await assert.rejects(async () => cache.get('/sync/error'), isr('render', 'an error'));
  await assert.rejects(async () => cache.get('/sync/text'), isr('render', 'a text'));
  // What is remembered during the back-off does not keep the cause alive.
  assert.throws(
    () => cache.tryGet('/sync/error'),
    (error) => error.message === 'an error' && error.cause === undefined,
  );
  await cache.close();
});

test('a wrong result is a failed render that names the value and the rule', async () => {
  const { cache } = manualCache();
  const results = {
    undefined: [undefined, 'the result of a render must be a string, Uint8Array, ArrayBuffer or {body, ...}; got undefined'],
    number: [7, 'got 7'],
    list: [['x'], "{body, ...}; got [ 'x' ]"],
    body: [{ body: 5 }, 'body must be a string, Uint8Array or ArrayBuffer; got 5'],
    unknown: [{ boddy: 'x' }, "unknown key 'boddy'"],
    status: [{ status: 99 }, 'status must be a whole number from 100 to 999; got 99'],
    text: [{ status: '200' }, 'status must be'],
    headers: [{ headers: { a: 1 } }, 'header a must be a string; got 1'],
    pair: [{ headers: [['a']] }, 'a header must be a pair'],
    newline: [{ headers: { a: 'b\r\nc' } }, 'a'],
    tags: [{ tags: 'x' }, 'tags must be a list'],
    lone: [{ tags: ['\ud800'] }, 'well-formed'],
    negative: [{ revalidate: -1 }, 'revalidate must be'],
    true: [{ revalidate: true }, 'revalidate must be a number of seconds, or false for never; got true'],
    nan: [{ expire: Number.NaN }, 'expire must be'],
    flag: [{ noStore: 1 }, 'noStore must be true or false; got 1'],
    failing: [{ status: 503 }, '503'],
  };
  cache.page('/[name]', (job) => results[job.params.name][0]);
  for (const [name, [, text]] of Object.entries(results)) {
    await assert.rejects(async () => cache.get(`/${name}`), isr('render', text), name);
    assert.equal(cache.peek(`/${name}`).state, 'missing');
  }
  await cache.close();
});

test('what is no page is not taken for an empty one', async () => {
  const { cache } = manualCache();
  const values = {
    Error: new Error('x'),
    DataView: new DataView(new ArrayBuffer(1)),
    Uint16Array: new Uint16Array(1),
    SharedArrayBuffer: new SharedArrayBuffer(1),
    Blob: new Blob(['x']),
    Date: new Date(0),
    Map: new Map(),
    Set: new Set(),
    URL: new URL('http://localhost'),
    RegExp: /x/,
    Response: new Response('x'),
    Mine: new (class Mine {
      body = 'x';
    })(),
    String: new String('x'),
  };
  cache.page('/alone/[name]', (job) => values[job.params.name]);
  cache.page('/body/[name]', (job) => ({ body: values[job.params.name] }));
  cache.page('/null', () => ({ body: null }));
  cache.page('/promise', () => ({ body: Promise.resolve('x') }));
  const refused = async (path, text) => {
    await assert.rejects(async () => cache.get(path), isr('render', text), path);
    assert.equal(cache.peek(path).state, 'missing');
  };
  for (const name of Object.keys(values)) {
    await refused(
      `/alone/${name}`,
      `the result of a render must be a string, Uint8Array, ArrayBuffer or {body, ...}; got ${name}`,
    );
    await refused(`/body/${name}`, `body must be a string, Uint8Array or ArrayBuffer; got ${name}`);
  }
  await refused('/null', 'body must be a string, Uint8Array or ArrayBuffer; got null');
  await refused('/promise', '; got Promise');
  assert.throws(() => cache.put('/null', new Map(), { started: 0n }), isr('invalid_argument', 'got Map'));
  await cache.close();
});

test('bodies of every sort that is one', async () => {
  const { cache } = manualCache();
  const bytes = Uint8Array.from([0xff, 0, 0x61]);
  const values = {
    text: 'é',
    bytes,
    buffer: Buffer.from(bytes),
    part: new Uint8Array(Uint8Array.from([1, 0xff, 0, 0x61, 2]).buffer, 1, 3),
    arrayBuffer: bytes.slice().buffer,
  };
  cache.page('/alone/[name]', (job) => values[job.params.name]);
  cache.page('/body/[name]', (job) => Object.assign(Object.create(null), { body: values[job.params.name] }));
  cache.page('/realm', () => runInNewContext('({ body: new Uint8Array([255, 0, 97]) })'));
  cache.page('/nothing', () => ({ body: undefined }));
  for (const name of Object.keys(values)) {
    const wanted = name === 'text' ? Buffer.from('é') : Buffer.from(bytes);
    for (const path of [`/alone/${name}`, `/body/${name}`]) assert.deepEqual((await cache.get(path)).body, wanted, path);
  }
  assert.deepEqual((await cache.get('/realm')).body, Buffer.from(bytes));
  assert.equal((await cache.get('/nothing')).body.length, 0);
  assert.deepEqual(await cache.data('k', () => bytes.slice().buffer, { raw: true }), Buffer.from(bytes));
  await cache.close();
});

test('a failure keeps the last good page', async () => {
  const { cache } = manualCache();
  let fail = false;
  cache.page('/p', async () => {
    if (fail) throw new Error('down');
    return 'good';
  });
  await cache.get('/p');
  fail = true;
  cache.revalidatePath('/p');
  const answer = await cache.get('/p');
  assert.deepEqual([answer.cache, answer.body.toString()], ['stale-error', 'good']);
  await assert.rejects(cache.regenerate('/p'), isr('render', 'down'));
  await cache.close();
});

test('a render that does not settle times out: waiters get the error, the signal is aborted, a late result is lost', async () => {
  const { cache, clock } = manualCache();
  const held = gate();
  let job;
  let renders = 0;
  cache.page('/p', { timeout: 10 }, (given) => {
    renders += 1;
    if (renders > 1) return 'second';
    job = given;
    return held.passed;
  });
  const answer = cache.get('/p');
  await until(() => job !== undefined);
  const { signal } = job;
  clock.advance(10);
  assert.equal(job.cancelled, false);
  assert.equal(signal.aborted, false);
  clock.advance(0.001);
  assert.equal(job.cancelled, true);
  assert.equal(signal.aborted, true);
  await assert.rejects(answer, isr('timeout'));
  held.open('late');
  await until(() => cache.activity().running === 0);
  assert.equal(cache.peek('/p').state, 'missing');
  clock.advance(2);
  assert.equal((await cache.get('/p')).body.toString(), 'second');
  await cache.close();
});

test('renders that never settle do not use up the places', async () => {
  const { cache, clock } = manualCache({ threads: 2 });
  let begun = 0;
  cache.page('/hung/[id]', { timeout: 5 }, () => {
    begun += 1;
    return new Promise(() => {});
  });
  cache.page('/good', () => 'good');
  for (let round = 1; round <= 3; round += 1) {
    const hung = [cache.get(`/hung/a${round}`), cache.get(`/hung/b${round}`)];
    await until(() => begun === 2 * round);
    clock.advance(6);
    for (const outcome of await Promise.allSettled(hung)) assert.ok(isr('timeout')(outcome.reason));
  }
  assert.equal((await cache.get('/good')).body.toString(), 'good');
  assert.equal(await cache.close(), true);
});

test('a signal asked for after the end is aborted already', async () => {
  const { cache, clock } = manualCache();
  let job;
  cache.page('/p', { timeout: 1 }, (given) => {
    job = given;
    return new Promise(() => {});
  });
  const answer = cache.get('/p');
  await until(() => job);
  clock.advance(2);
  await assert.rejects(answer, isr('timeout'));
  assert.equal(job.signal.aborted, true);
  await cache.close();
});

test('close gives up what runs too long, and aborts its signal; settling after it is harmless', async () => {
  const { cache } = manualCache();
  const held = [gate(), gate()];
  const jobs = [];
  cache.page('/[n]', (job) => {
    jobs.push(job);
    job.signal.addEventListener('abort', () => (job.seen = true));
    return held[job.params.n].passed;
  });
  const answers = [cache.get('/0'), cache.get('/1')];
  for (const answer of answers) answer.catch(() => {});
  await until(() => jobs.length === 2);
  assert.equal(await cache.close({ timeout: 0 }), false);
  for (const answer of answers) await assert.rejects(answer, isr('closed'));
  assert.deepEqual(
    jobs.map(({ seen }) => seen),
    [true, true],
  );
  held[0].open('late');
  held[1].fail(new Error('late'));
  await new Promise((go) => setImmediate(go));
});

test('close waits for what ends in time', async () => {
  const { cache } = manualCache();
  const held = gate();
  let begun = false;
  cache.page('/p', () => {
    begun = true;
    return held.passed;
  });
  const answer = cache.get('/p');
  await until(() => begun);
  const closing = cache.close({ timeout: 20 });
  await until(() => cache.closed);
  await assert.rejects(async () => cache.get('/p'), isr('closed'));
  held.open('in time');
  assert.equal((await answer).body.toString(), 'in time');
  assert.equal(await closing, true);
});

test('close from within a render is refused at once', async () => {
  const { cache } = manualCache();
  cache.page('/p', async () => {
    await cache.close();
    return 'x';
  });
  await assert.rejects(async () => cache.get('/p'), isr('render', 'close must not be called'));
  await cache.close();
});

test('a cache that nobody can reach any more is collected, whatever its callbacks refer to', async () => {
  assert.ok(globalThis.gc, 'run with --expose-gc, as `npm test` does');
  let collected = false;
  const registry = new FinalizationRegistry(() => (collected = true));
  await (async () => {
    const { cache } = manualCache();
    cache.page('/p', () => cache.stats() && 'x');
    await cache.get('/p');
    registry.register(cache);
  })();
  await until(() => {
    globalThis.gc();
    return collected;
  }, 'the collection');
});
