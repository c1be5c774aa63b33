/** Time travel for tests. */
import { seconds, wrong } from './check.js';
import { isolate, lookOver } from './isolate.js';
import { native, type NativeClock } from './native.js';

/**
 * A clock that stands still until told to move: give it to a {@link Cache} as `clock`, and lifetimes, back-offs and
 * time-outs of your tests run on it. Several caches may share one.
 */
export class ManualClock {
  readonly #native: NativeClock;

  /** `start`: seconds since 1970. */
  constructor(start = 1_700_000_000) {
    this.#native = new native.NativeClock(isolate, number('start', start));
  }

  /** The time it shows, in seconds since 1970. */
  now(): number {
    return this.#native.now();
  }

  /** Moves forward by seconds; time-outs that fall due fire before it returns. `false` moves to the end of time. */
  advance(by: number | false): void {
    this.#native.advance(seconds('advance', by));
    lookOver();
  }

  /** Sets the wall clock alone, also backwards, as an administrator or NTP would; running time-outs go on. */
  setWall(to: number): void {
    this.#native.setWall(number('setWall', to));
  }

  /** @internal */
  static native(clock: unknown): NativeClock {
    if (typeof clock === 'object' && clock !== null && #native in clock) return clock.#native;
    throw wrong('clock', 'a ManualClock', clock);
  }
}

function number(what: string, value: unknown): number {
  if (typeof value !== 'number') throw wrong(what, 'a number of seconds', value);
  return value;
}
