/** This isolate's end of the addon: values kept for it, promises that wait, and its events. */
import { type ErrorKind, IsrError } from './errors.js';
import { native, type NativeEvent, type NativeProgress, type Outcome } from './native.js';

/** How often, in milliseconds, jobs are looked over that may have been given up without any event. */
const LOOK_OVER = 50;

interface Waiting {
  resolve(outcome: Outcome): void;
  reject(error: unknown): void;
  progress?(progress: NativeProgress): void;
}

/** Handles of what runs, and who is told of trouble; see jobs.ts. */
interface Jobs {
  render(event: NativeEvent): void;
  load(event: NativeEvent, kept: unknown): void;
  trouble(event: NativeEvent): void;
  /** Tells the jobs that were given up. */
  lookOver(): void;
}

/** Values that the addon knows by number: loaders and thrown errors. */
const kept = new Map<number, unknown>();
const waiting = new Map<number, Waiting>();
let lastNumber = 0;
let timer: NodeJS.Timeout | undefined;
let jobs: Jobs | undefined;

function makeError(kind: ErrorKind, message: string, cause: number | null): Error {
  return new IsrError(kind, message, cause === null ? undefined : { cause: kept.get(cause) });
}

/** The one isolate object, made while the module loads so that it belongs to no request's async context. */
export const isolate = new native.Isolate(drain, makeError);

/** Who runs callbacks. */
export function runJobsBy(runner: Jobs): void {
  jobs = runner;
}

/** Keeps a value until the addon releases it. */
export function keep(value: unknown): number {
  kept.set(++lastNumber, value);
  return lastNumber;
}

/**
 * Begins a call that answers at once or by an event. `begin` gets the event's number and returns what is there already;
 * `owner` stays reachable while the promise waits.
 */
export function ask<T, R>(
  begin: (id: number) => T | null | void,
  convert: (outcome: T) => R,
  owner: object,
  progress?: (progress: NativeProgress) => void,
): R | Promise<R> {
  const id = ++lastNumber;
  const now = begin(id) ?? null;
  if (now !== null) return convert(now);
  return new Promise<R>((resolve, reject) => {
    const entry: Waiting & { owner: object } = {
      owner,
      resolve(outcome) {
        try {
          resolve(convert(outcome as T));
        } catch (error) {
          reject(error);
        }
      },
      reject,
    };
    if (progress) entry.progress = progress;
    waiting.set(id, entry);
  });
}

/** Handles events that wait. Called by the addon, and by itself after each callback so that others get their turn. */
function drain(): void {
  let event: NativeEvent | null = null;
  try {
    while ((event = isolate.next()) !== null) {
      handle(event);
      if (event.kind === 'render' || event.kind === 'load') {
        setImmediate(drain);
        break;
      }
    }
  } catch (error) {
    // The fault of one event must not hold up the others.
    setImmediate(drain);
    throw error;
  }
  lookOver();
}

function handle(event: NativeEvent): void {
  const id = event.id ?? 0;
  switch (event.kind) {
    case 'render':
      jobs?.render(event);
      break;
    case 'load':
      jobs?.load(event, kept.get(id));
      break;
    case 'resolve': {
      const entry = waiting.get(id);
      waiting.delete(id);
      entry?.resolve(event.answer ?? event.data ?? event.report ?? event.closed ?? null);
      break;
    }
    case 'reject': {
      const entry = waiting.get(id);
      waiting.delete(id);
      entry?.reject(event.error);
      break;
    }
    case 'progress':
      if (event.progress) waiting.get(id)?.progress?.(event.progress);
      break;
    case 'trouble':
      jobs?.trouble(event);
      break;
    case 'release':
      kept.delete(id);
      break;
  }
}

/** Tells jobs that were given up, and lets the loop end when nothing is left to do; else looks again soon. */
export function lookOver(): void {
  jobs?.lookOver();
  if (isolate.settle()) {
    timer ??= setInterval(lookOver, LOOK_OVER).unref();
  } else {
    clearInterval(timer);
    timer = undefined;
  }
}
