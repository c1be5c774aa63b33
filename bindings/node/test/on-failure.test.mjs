// Failures that no caller is told of.
import assert from 'node:assert/strict';
import test from 'node:test';
import { IsrError } from 'libisr';
import { gate, isr, manualCache, until } from './helpers.mjs';

/** A page that was good once, and does then what `fail` does. */
async function stalePage(options, route = {}) {
  const made = { ...manualCache(options), fail: undefined };
  made.cache.page('/p', { revalidate: 60, ...route }, (job) => (made.fail ? made.fail(job) : 'good'));
  await made.cache.get('/p');
  made.clock.advance(61);
  return made;
}

const quiet = (cache) => until(() => cache.activity().running === 0, 'the end of all renders');

test('a failed background render is told to onFailure, however it fails', async () => {
  const thrown = new Error('down');
  const ways = {
    throws: [() => assert.fail(thrown), 'render', 'down', thrown],
    rejects: [() => Promise.reject(thrown), 'render', 'down', thrown],
    'no page': [() => new Map(), 'render', 'got Map', IsrError],
    'status 500': [() => ({ status: 503 }), 'render', 'the render gave status 503', undefined],
    'refused by the core': [() => ({ headers: { é: 'x' } }), 'render', 'invalid page: header "é"', undefined],
  };
  for (const [way, [fail, kind, text, cause]] of Object.entries(ways)) {
    const told = [];
    const made = await stalePage({ onFailure: (failure) => told.push(failure) });
    made.fail = fail;
    assert.equal((await made.cache.get('/p')).cache, 'stale');
    await quiet(made.cache);
    assert.equal(told.length, 1, way);
    const [{ path, error }] = told;
    assert.equal(path, '/p');
    assert.ok(isr(kind, text)(error), `${way}: ${error}`);
    if (cause === IsrError) assert.ok(error.cause instanceof IsrError);
    else assert.equal(error.cause, cause, way);
    assert.equal((await made.cache.get('/p')).body.toString(), 'good');
    await made.cache.close();
  }
});

test('a timeout in the background is told once, what comes after it is not, nor what close gives up', async () => {
  const told = [];
  const made = await stalePage({ onFailure: (failure) => told.push(failure) }, { timeout: 5 });
  const held = gate();
  let begun = 0;
  made.fail = () => {
    begun += 1;
    return held.passed;
  };
  await made.cache.get('/p');
  await until(() => begun === 1);
  made.clock.advance(6);
  assert.deepEqual(
    told.map(({ path, error }) => [path, error.code, error.message]),
    [['/p', 'ISR_TIMEOUT', 'the render of /p took longer than its timeout']],
  );
  held.fail(new Error('late'));
  await quiet(made.cache);
  made.fail = () => {
    begun += 1;
    return new Promise(() => {});
  };
  made.clock.advance(3600);
  await made.cache.get('/p');
  await until(() => begun === 2);
  await made.cache.close({ timeout: 0 });
  assert.equal(told.length, 1);
});

test('a failed render that a caller is told of is not told again', async () => {
  const told = [];
  const { cache } = manualCache({ onFailure: (failure) => told.push(failure) });
  let fail = true;
  cache.page('/p', () => {
    if (fail) throw new Error('down');
    return 'good';
  });
  await assert.rejects(async () => cache.get('/p'), isr('render'));
  fail = false;
  await cache.regenerate('/p');
  fail = true;
  await assert.rejects(cache.regenerate('/p'), isr('render'));
  assert.equal(told.length, 0);
  // Here the caller gets the last good page instead.
  cache.revalidatePath('/p');
  assert.equal((await cache.get('/p')).cache, 'stale-error');
  assert.deepEqual(
    told.map(({ error }) => error.message),
    ['down'],
  );
  await cache.close();
});

test('without onFailure, or if that fails itself, one warning is emitted', async (t) => {
  const emit = t.mock.method(process, 'emitWarning', () => {});
  const broken = { throws: () => assert.fail(new Error('broken')), rejects: () => Promise.reject(new Error('broken')) };
  for (const onFailure of [undefined, broken.throws, broken.rejects]) {
    const made = await stalePage({ onFailure });
    made.fail = () => Promise.reject(new Error('down\nand out'));
    await made.cache.get('/p');
    await quiet(made.cache);
    await until(() => emit.mock.callCount() > 0);
    const text = onFailure
      ? 'onFailure failed for /p: broken'
      : 'the render of /p failed, the last good page stays: ISR_RENDER down and out';
    assert.deepEqual(
      emit.mock.calls.map((call) => call.arguments),
      [[text, 'IsrWarning']],
    );
    emit.mock.resetCalls();
    await made.cache.close();
  }
});
