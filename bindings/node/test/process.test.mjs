// The process: it lives as long as there is something to do, and ends by itself.
import assert from 'node:assert/strict';
import test from 'node:test';
import { gate, manualCache, program, until } from './helpers.mjs';

/** Runs a program and compares what it prints; it must end by itself with this status. */
async function prints(source, expected, status = 0) {
  const ran = await program(`import { Cache, ManualClock } from 'libisr';\n${source}`);
  assert.deepEqual(
    { ...ran, stdout: ran.stdout.trim().split('\n') },
    { stdout: expected, stderr: '', status, signal: null },
  );
}

test('an idle process ends by itself, without close', () =>
  prints(
    `const cache = new Cache();
     cache.page('/p', async () => 'x');
     const answer = await cache.get('/p');
     console.log(answer.cache, cache.get('/p').cache);`,
    ['miss hit'],
  ));

test('importing alone keeps nothing alive', () => prints("console.log('in')", ['in']));

test('an awaited answer keeps the process alive, though nothing else does', () =>
  prints(
    `const cache = new Cache();
     cache.page('/p', (job) => job.data('k', () => 'loaded'));
     cache.get('/p').then((answer) => console.log(answer.body.toString()));`,
    ['loaded'],
  ));

test('a background render is finished before the process ends', () =>
  prints(
    `const clock = new ManualClock();
     const cache = new Cache({ clock });
     let n = 0;
     cache.page('/p', { revalidate: 60 }, async () => { console.log('render', ++n); return 'x'; });
     await cache.get('/p');
     clock.advance(61);
     console.log(cache.get('/p').cache);
     process.on('exit', () => console.log(cache.peek('/p').state));`,
    ['render 1', 'stale', 'render 2', 'fresh'],
  ));

test('queued background renders are finished, too', () =>
  prints(
    `const clock = new ManualClock();
     const cache = new Cache({ clock, threads: 1 });
     let n = 0;
     cache.page('/[id]', { revalidate: 60 }, async () => { n += 1; return 'x'; });
     for (const id of 'abcdefgh') await cache.get('/' + id);
     clock.advance(61);
     for (const id of 'abcdefgh') cache.get('/' + id);
     process.on('exit', () => console.log(n));`,
    ['16'],
  ));

test('a render that never settles holds the process until it times out', () =>
  prints(
    `const cache = new Cache();
     cache.page('/p', { timeout: 0.05 }, () => new Promise(() => {}));
     cache.get('/p').catch((error) => console.log(error.code));`,
    ['ISR_TIMEOUT'],
  ));

test('so does one that nobody waits for', () =>
  prints(
    `const cache = new Cache({ defaultTimeout: 0.05, onFailure: ({ error }) => console.log(error.code) });
     let n = 0;
     cache.page('/p', { revalidate: 0.001 }, () => (n += 1) === 1 ? 'x' : new Promise(() => {}));
     await cache.get('/p');
     let answer;
     do { await new Promise((go) => setTimeout(go, 5)); answer = await cache.get('/p'); } while (answer.cache === 'hit');
     console.log(answer.cache);
     process.on('exit', () => console.log(n, cache.activity().running));`,
    ['stale', 'ISR_TIMEOUT', '2 0'],
  ));

test('process.exit with running renders and awaited answers', () =>
  prints(
    `const cache = new Cache();
     let begun = 0;
     cache.page('/[id]', async () => { if (++begun === 8) { console.log('exit'); process.exit(3); } return new Promise(() => {}); });
     for (let i = 0; i < 100; i += 1) cache.get('/' + i);`,
    ['exit'],
    3,
  ));

test('an uncaught exception ends the process as ever', async () => {
  const ran = await program(
    `import { Cache } from 'libisr';
     const cache = new Cache();
     cache.page('/p', () => new Promise(() => {}));
     cache.get('/p');
     setImmediate(() => { throw new Error('uncaught'); });`,
  );
  assert.equal(ran.status, 1);
  assert.match(ran.stderr, /uncaught/);
});

test('top-level await of an answer is no deadlock', () =>
  prints(
    `const cache = new Cache({ threads: 1 });
     cache.page('/a', async () => '<' + (await cache.get('/b')).body + '>');
     cache.page('/b', async () => 'b');
     console.log((await cache.get('/a')).body.toString());`,
    ['<b>'],
  ));

test('the event loop turns while renders wait', async () => {
  const { cache } = manualCache();
  const held = gate();
  cache.page('/[id]', () => held.passed);
  const answers = Array.from({ length: 50 }, (_, i) => cache.get(`/${i}`));
  let turns = 0;
  await until(() => (turns += 1) > 100);
  held.open('x');
  await Promise.all(answers);
  await cache.close();
});

test('renders that return at once leave the event loop its turns', async () => {
  const { cache } = manualCache();
  let since = 0;
  let most = 0;
  let going = true;
  const turn = () => {
    since = 0;
    if (going) setImmediate(turn);
  };
  turn();
  cache.page('/[id]', () => {
    since += 1;
    most = Math.max(most, since);
    return 'x';
  });
  await Promise.all(Array.from({ length: 300 }, (_, i) => cache.get(`/${i}`)));
  going = false;
  assert.ok(most < 10, `${most} renders in one turn`);
  await cache.close();
});

test('closing does not block the event loop', async () => {
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
  let turns = 0;
  await until(() => (turns += 1) > 100);
  held.open('x');
  await answer;
  assert.equal(await closing, true);
});
