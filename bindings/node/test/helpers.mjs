// What several tests need.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Cache, IsrError, ManualClock } from 'libisr';

/** A cache on a manual clock, without chance. */
export function manualCache(options = {}) {
  const clock = new ManualClock();
  return { clock, cache: new Cache({ backoffJitter: 0, clock, ...options }) };
}

/** A promise that is settled from outside. */
export function gate() {
  const made = {};
  made.passed = new Promise((open, fail) => Object.assign(made, { open, fail }));
  return made;
}

/** For assert.throws and assert.rejects: an error of this kind whose message has this text. */
export function isr(kind, text = '') {
  return (error) =>
    error instanceof IsrError &&
    error.kind === kind &&
    error.code === `ISR_${kind.toUpperCase()}` &&
    error.message.includes(text);
}

/** Waits until a condition holds, looking once in each turn of the event loop; fails after 20 s. */
export async function until(condition, what = 'the condition') {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what} did not come true in 20 s`);
    await new Promise((go) => setImmediate(go));
  }
}

/** Runs a program of its own: its output, status and signal. Killed after 20 s, which fails the test by its signal. */
export async function program(source) {
  const child = spawn(process.execPath, ['--input-type=module', '--expose-gc', '-e', source], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const [status, signal] = await once(child, 'close');
  clearTimeout(killer);
  return { stdout, stderr, status, signal };
}
