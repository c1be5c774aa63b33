/** What render callbacks return. */
import { bytes, flag, isPlainObject, known, maybeSeconds, plainObject, text, texts, wrong } from './check.js';
import type { NativeResult } from './native.js';

/** Header fields of a result: an object of texts or lists of texts, a `Headers`, or pairs. */
export type ResultHeaders =
  Record<string, string | readonly string[]> | Iterable<readonly [name: string, value: string]>;

/** A body: text, or bytes. */
export type Body = string | Uint8Array | ArrayBuffer;

/** A page as a render callback makes it. */
export interface PageResult {
  /** Text is sent as UTF-8. Default empty. */
  body?: Body | undefined;
  /** The HTTP status, default 200. 500 and above is a failure. */
  status?: number | undefined;
  /** Header fields; names in any case. None is added: give a `content-type`. */
  headers?: ResultHeaders | undefined;
  /** Overrides the route's `revalidate`. `0`: answered, not stored. */
  revalidate?: number | false | undefined;
  /** Overrides the route's `expire`. */
  expire?: number | false | undefined;
  /** Tags beside the route's. */
  tags?: readonly string[] | undefined;
  /** Answered, not stored; what is stored stays. */
  noStore?: boolean | undefined;
  /** Answered, not stored, and what is stored of this path goes, all variants. */
  remove?: boolean | undefined;
}

/** What a render callback may return: a body alone, or a whole page. */
export type RenderResult = Body | PageResult;

const COMMON = ['revalidate', 'expire', 'tags', 'noStore', 'remove'] as const;
const KEYS = ['body', 'status', 'headers', ...COMMON] as const;
const REDIRECTS = [301, 302, 303, 307, 308];

/** A page with status 404, stored like any other (Next.js `notFound`). */
export function notFound(body: Body = '', more?: Omit<PageResult, 'body' | 'status'>): PageResult {
  return { ...known('notFound options', more, ['headers', ...COMMON]), status: 404, body };
}

/**
 * A redirect to a URL. `status`: 301, 302, 303, 307 (default) or 308. The cache percent-encodes in `location` what a URL may
 * not have, such as `é` or a space; what is encoded already stays.
 */
export function redirect(to: string, status = 307, more?: Omit<PageResult, 'status' | 'headers'>): PageResult {
  if (!REDIRECTS.includes(status)) throw wrong('the status of a redirect', `one of ${REDIRECTS.join(', ')}`, status);
  const location = text('to', to);
  return { ...known('redirect options', more, ['body', ...COMMON]), status, headers: { location } };
}

/** A result as the addon takes it. */
export function nativeResult(result: unknown): NativeResult {
  const alone = typeof result === 'string' ? result : bytes(result);
  if (alone !== undefined) return plain(alone);
  if (!isPlainObject(result)) {
    throw wrong('the result of a render', 'a string, Uint8Array, ArrayBuffer or {body, ...}', result);
  }
  const given = known<PageResult>('the result of a render', result, KEYS);
  return {
    body: given.body === undefined ? '' : body(given.body),
    status: given.status === undefined ? 200 : status(given.status),
    headers: given.headers === undefined ? [] : headers(given.headers),
    revalidate: maybeSeconds('revalidate', given.revalidate),
    expire: maybeSeconds('expire', given.expire),
    tags: given.tags === undefined ? [] : texts('tags', given.tags, 'invalid_tag'),
    noStore: flag('noStore', given.noStore),
    remove: flag('remove', given.remove),
  };
}

/** Anything else is refused: a stored page must not be empty because a Promise or a Date has no keys. */
function body(value: unknown): string | Uint8Array {
  const given = typeof value === 'string' ? value : bytes(value);
  if (given === undefined) throw wrong('body', 'a string, Uint8Array or ArrayBuffer', value);
  return given;
}

function plain(body: string | Uint8Array): NativeResult {
  return {
    body,
    status: 200,
    headers: [],
    revalidate: undefined,
    expire: undefined,
    tags: [],
    noStore: false,
    remove: false,
  };
}

function status(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 100 || value > 999) {
    throw wrong('status', 'a whole number from 100 to 999', value);
  }
  return value;
}

/** Names and values in turn. */
function headers(given: ResultHeaders): string[] {
  const flat: string[] = [];
  const add = (name: unknown, value: unknown): void => {
    flat.push(text('the name of a header', name), text(`header ${String(name)}`, value));
  };
  if (typeof given === 'object' && given !== null && Symbol.iterator in given) {
    for (const pair of given) {
      if (!Array.isArray(pair) || pair.length !== 2) throw wrong('a header', 'a pair of name and value', pair);
      add(pair[0], pair[1]);
    }
    return flat;
  }
  for (const [name, value] of Object.entries(plainObject('headers', given))) {
    if (Array.isArray(value)) for (const one of value) add(name, one);
    else add(name, value);
  }
  return flat;
}
