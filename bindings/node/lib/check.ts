/** Checks of arguments: their types. What values mean is for the core to judge. */
import { inspect, type InspectOptions, types } from 'node:util';
import { type ErrorKind, IsrError } from './errors.js';

/** A wrong argument, with what was given. */
export function wrong(what: string, rule: string, got: unknown, kind: ErrorKind = 'invalid_argument'): IsrError {
  return new IsrError(kind, `${what} must be ${rule}; got ${hasClass(got) ? className(got) : show(got)}`);
}

/** Whether it is an object of a class: of that the class is named, everything else is shown. */
function hasClass(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isPlainObject(value);
}

/** Whether it is an object without a class, by `{}` or `Object.create(null)`. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // The prototype of the root: also that of another realm, such as a test runner's.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function className(value: unknown): string {
  try {
    const { name } = (value as object).constructor;
    if (typeof name === 'string' && name !== '') return name;
  } catch {
    // A getter, or no constructor.
  }
  return 'an object of a class';
}

/** A value in an error's message. */
export function show(value: unknown): string {
  return inspect(value, { depth: 1, maxArrayLength: 5, maxStringLength: 200, breakLength: Infinity });
}

/** A text without lone surrogates, which have no UTF-8. */
export function text(what: string, value: unknown, kind: ErrorKind = 'invalid_argument'): string {
  if (typeof value !== 'string') throw wrong(what, 'a string', value);
  if (!value.isWellFormed()) throw wrong(what, 'well-formed Unicode', value, kind);
  return value;
}

export function texts(what: string, value: unknown, kind: ErrorKind = 'invalid_argument'): string[] {
  if (!Array.isArray(value)) throw wrong(what, 'a list of strings', value);
  return Array.from(value, (item, i) => text(`${what}[${i}]`, item, kind));
}

/** One text or a list of texts. */
export function oneOrMore(what: string, value: unknown, kind: ErrorKind = 'invalid_argument'): string[] {
  if (typeof value === 'string') return [text(what, value, kind)];
  if (!Array.isArray(value)) throw wrong(what, 'a string or a list of strings', value);
  return texts(what, value, kind);
}

export function flag(what: string, value: unknown, otherwise = false): boolean {
  if (value === undefined) return otherwise;
  if (typeof value !== 'boolean') throw wrong(what, 'true or false', value);
  return value;
}

/** A number of seconds or `false` for never; the range is checked by the core. */
export function seconds(what: string, value: unknown): number | false {
  if (value === false) return false;
  if (typeof value !== 'number') throw wrong(what, 'a number of seconds, or false for never', value);
  return value;
}

export function maybeSeconds(what: string, value: unknown): number | false | undefined {
  return value === undefined ? undefined : seconds(what, value);
}

/** A number or `false` for no limit; the range is checked by the core. */
export function maybeLimit(what: string, value: unknown): number | false | undefined {
  if (value === undefined || value === false || typeof value === 'number') return value;
  throw wrong(what, 'a whole number, or false for no limit', value);
}

export function maybeNumber(what: string, value: unknown): number | undefined {
  if (value === undefined || typeof value === 'number') return value;
  throw wrong(what, 'a number', value);
}

export function callback(what: string, value: unknown): Function {
  if (typeof value !== 'function') throw wrong(what, 'a function', value);
  return value;
}

/** An object whose own keys are all known; `undefined` counts as an empty one. */
export function known<T extends object>(what: string, value: T | undefined, names: readonly string[]): Partial<T> {
  if (value === undefined) return {};
  const given = plainObject(what, value);
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) {
      throw new IsrError('invalid_argument', `unknown key ${show(name)} in ${what}; known are ${names.join(', ')}`);
    }
  }
  return given as Partial<T>;
}

/** An object without a class: a Promise or a Map has no keys of its own and must not pass for an empty one. */
export function plainObject(what: string, value: unknown): object {
  if (!isPlainObject(value)) throw wrong(what, hasClass(value) ? 'a plain object' : 'an object', value);
  return value;
}

export function object(what: string, value: unknown): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(what, 'an object', value);
  }
  return value;
}

/** An object of texts as name, value, name, value, ... */
export function flatTexts(what: string, value: unknown): string[] {
  const flat: string[] = [];
  for (const [name, item] of Object.entries(plainObject(what, value))) {
    flat.push(text(`a name in ${what}`, name), text(`${what}.${name}`, item));
  }
  return flat;
}

/** Bytes, without a copy; `undefined` for what is none. Other views than of bytes are none: their order is not ours to say. */
export function bytes(value: unknown): Uint8Array | undefined {
  if (types.isUint8Array(value)) return value;
  return types.isArrayBuffer(value) ? new Uint8Array(value) : undefined;
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** For `util.inspect`: an object's class and what is worth to know of it, and at a depth that shows none its class alone. */
export function inspected(name: string, parts: object, depth: number, options: InspectOptions): string {
  return depth < 0 ? `[${name}]` : `${name} ${inspect(parts, { ...options, depth: options.depth === null ? null : depth })}`;
}

/** A value by its name, safe for names such as `__proto__`. */
export function record<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const made: Record<string, T> = Object.create(null);
  for (const [name, value] of entries) made[name] = value;
  return made;
}
