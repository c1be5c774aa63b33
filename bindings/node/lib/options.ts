/** Options of a cache, a route and a request. */
import { ManualClock } from './clock.js';
import { callback, flag, flatTexts, known, maybeLimit, maybeNumber, maybeSeconds, object, plainObject, text, texts, wrong } from './check.js';
import type { IsrError } from './errors.js';
import type { Named, NativeClock, NativeRoute } from './native.js';

/** Options of a cache. Seconds are numbers, `false` is never or no limit. */
export interface CacheOptions {
  /**
   * Names the cache in its process: all that open this name there, in whatever worker thread, share one cache and must give
   * the same options (`conflict` otherwise); see {@link Cache}. Default: the `directory` with the `deployment`, and without a
   * directory a cache of one's own.
   */
  name?: string | undefined;
  /** Separates builds: another deployment's pages are never served. Default empty. */
  deployment?: string | undefined;
  /** Bytes of memory for pages and data entries, the engine's own cost included. Default 256 MiB. */
  maxBytes?: number | undefined;
  /** Largest body that is stored. Default 16 MiB. */
  maxEntryBytes?: number | undefined;
  /** Seconds after its expiry for which a page is served in place of an error. Default `false`: no limit; `0`: off. */
  staleIfError?: number | false | undefined;
  /** Up to this part of a back-off is added at random, 0 to 1. Default 0.1. */
  backoffJitter?: number | undefined;
  /** How many renders may wait for a place; the last quarter is for those that somebody waits for. Default 1000. */
  maxQueue?: number | undefined;
  /** Renders at a time, from their start until their promise settles. Default 8. */
  threads?: number | undefined;
  /** Regenerations in the background at a time; `false`: no limit but `threads`. Default three quarters of `threads`. */
  maxRegenerations?: number | false | undefined;
  /** Of these, those of pages with the same tag. Default `false`: no limit. */
  maxRegenerationsPerTag?: number | false | undefined;
  /** How eagerly pages are regenerated before they are stale, 0 (not at all) to 100; 1 is usual. Default 0. */
  earlyRefresh?: number | undefined;
  /** `revalidate` of routes that give none. Default `false`: never. */
  defaultRevalidate?: number | false | undefined;
  /** `expire` of routes that give none. Default one year. */
  defaultExpire?: number | false | undefined;
  /** `timeout` of routes that give none. Default 60. */
  defaultTimeout?: number | false | undefined;
  /** Variants of one path that are stored. Default 64. */
  maxVariants?: number | undefined;
  /** Invalidations that are remembered one by one; beyond, the oldest are merged. Default 100,000. */
  maxInvalidations?: number | undefined;
  /** Statuses that may be stored. Default 200, 203, 301, 302, 303, 307, 308, 404, 410. */
  storableStatuses?: readonly number[] | undefined;
  /** Signs draft tokens; at least 16 bytes. Default random: tokens of this cache, or of all who share its directory. */
  draftSecret?: string | undefined;
  /** Encodings in which pages are kept beside the plain one. Default none. */
  precompress?: readonly ('br' | 'gzip' | 'zstd')[] | undefined;
  /**
   * Where pages, data entries and invalidations are kept over restarts, and shared with all processes of the machine that
   * open the same directory. Made if it is not there. Default none: memory alone. In one process it is one cache, as if the
   * directory were its `name`.
   */
  directory?: string | undefined;
  /** Bytes of the directory's disk for pages and data entries; whole blocks of 4 KiB count. Default 16 GiB. */
  maxDiskBytes?: number | undefined;
  /**
   * Whether stored pages and invalidations are on the disk (fsync) before a call returns, so that not even a power loss undoes
   * them. Default `false`: they survive the death of any process, not that of the machine.
   */
  durable?: boolean | undefined;
  /** Where time is read. Default the system's clock. */
  clock?: ManualClock | undefined;
  /**
   * Called when the render of a stored page that is stale or expired has failed, which visitors are not told: they get the
   * last good page. Default: a warning by `process.emitWarning`. What it throws or rejects with becomes such a warning.
   */
  onFailure?: OnFailure | undefined;
  /**
   * Called once for each kind of trouble with the directory; the cache goes on in memory alone. Default: a warning by
   * `process.emitWarning`. What it throws or rejects with becomes such a warning. It does not keep the process alive.
   */
  onTrouble?: OnTrouble | undefined;
}

/** A failed render of a stored page. */
export interface Failure {
  /** The canonical path. */
  path: string;
  /** Kind `render` or `timeout`; its `cause` is what the callback threw. */
  error: IsrError;
}

/** Is told of failed renders; see {@link CacheOptions.onFailure}. */
export type OnFailure = (failure: Failure) => void | Promise<void>;

/** Is told of trouble with the directory, an error of kind `store`; see {@link CacheOptions.onTrouble}. */
export type OnTrouble = (error: IsrError) => void | Promise<void>;

/** Parameters by name: a string, or a list for a catch-all. */
export type RouteParams = Record<string, string | readonly string[]>;

/** Options of a route. Seconds are numbers, `false` is never. */
export interface RouteOptions {
  /** Seconds until a page is stale. Default: the cache's `defaultRevalidate`. */
  revalidate?: number | false | undefined;
  /** Seconds until a page is expired. Default: the cache's `defaultExpire`. */
  expire?: number | false | undefined;
  /** Whether paths that `staticParams` does not list are rendered. Default `true`. */
  dynamicParams?: boolean | undefined;
  /** The paths to prerender (Next.js `generateStaticParams`). */
  staticParams?: readonly RouteParams[] | undefined;
  /** Tags of every page of this route. */
  tags?: readonly string[] | undefined;
  /** Seconds a render may take. Default: the cache's `defaultTimeout`. */
  timeout?: number | false | undefined;
  /** Renders of this route at a time, whatever they are for. Default `false`: no limit but the cache's `threads`. */
  maxConcurrent?: number | false | undefined;
  /** How eagerly its pages are regenerated before they are stale, 0 to 100. Default: the cache's `earlyRefresh`. */
  earlyRefresh?: number | undefined;
  /** Names of query values that become part of the variant. Others are ignored. */
  query?: readonly string[] | undefined;
  /** Variant name and the request header that it comes from, for `vary` of answers. Reads no request: give `variant`. */
  vary?: Record<string, string> | undefined;
}

/** Options of a request. */
export interface GetOptions {
  /** Named values that select another representation of the path. */
  variant?: Record<string, string> | undefined;
  /** Rendered live for this request alone and not stored. You decide who may: see {@link Cache.verifyDraft}. */
  draft?: boolean | undefined;
  /** Never regenerates a stored page. */
  prefetch?: boolean | undefined;
}

const ROUTE_KEYS = [
  'revalidate',
  'expire',
  'dynamicParams',
  'staticParams',
  'tags',
  'timeout',
  'maxConcurrent',
  'earlyRefresh',
  'query',
  'vary',
] as const;

type NativeOption = { name: string; value: number | boolean | string | string[] };

interface OpenOptions {
  named: NativeOption[];
  clock: NativeClock | undefined;
  onFailure: OnFailure | undefined;
  onTrouble: OnTrouble | undefined;
}

/** Options as the addon takes them: the core's table decides which names there are. */
export function cacheOptions(options: CacheOptions | undefined): OpenOptions {
  const named: NativeOption[] = [];
  let clock: NativeClock | undefined;
  let onFailure: OnFailure | undefined;
  let onTrouble: OnTrouble | undefined;
  for (const [name, value] of Object.entries(options === undefined ? {} : plainObject('options', options))) {
    if (value === undefined) continue;
    if (name === 'clock') clock = ManualClock.native(value);
    else if (name === 'onFailure') onFailure = callback('onFailure', value) as OnFailure;
    else if (name === 'onTrouble') onTrouble = callback('onTrouble', value) as OnTrouble;
    else if (name === 'durable') named.push({ name, value: flag('durable', value) });
    else named.push({ name: text('the name of an option', name), value: optionValue(name, value) });
  }
  return { named, clock, onFailure, onTrouble };
}

function optionValue(name: string, value: unknown): NativeOption['value'] {
  if (typeof value === 'number' || value === false) return value;
  if (typeof value === 'string') return text(name, value);
  if (Array.isArray(value)) {
    return value.map((item, i) => (typeof item === 'number' ? String(item) : text(`${name}[${i}]`, item)));
  }
  throw wrong(name, 'a number, false, a string or a list', value);
}

/** A route as the addon takes it. */
export function nativeRoute(options: RouteOptions | undefined): NativeRoute {
  const given = known('route options', options, ROUTE_KEYS);
  return {
    revalidate: maybeSeconds('revalidate', given.revalidate),
    expire: maybeSeconds('expire', given.expire),
    dynamicParams: flag('dynamicParams', given.dynamicParams, true),
    staticParams: staticParams(given.staticParams),
    tags: given.tags === undefined ? [] : texts('tags', given.tags, 'invalid_tag'),
    timeout: maybeSeconds('timeout', given.timeout),
    maxConcurrent: maybeLimit('maxConcurrent', given.maxConcurrent),
    earlyRefresh: maybeNumber('earlyRefresh', given.earlyRefresh),
    query: given.query === undefined ? [] : texts('query', given.query),
    vary: given.vary === undefined ? [] : flatTexts('vary', given.vary),
  };
}

function staticParams(given: readonly RouteParams[] | undefined): Named[][] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) throw wrong('staticParams', 'a list of objects', given);
  return given.map((params, i) =>
    Object.entries(object(`staticParams[${i}]`, params)).map(([name, value]) => {
      const what = `staticParams[${i}].${name}`;
      return {
        name: text(`a name in staticParams[${i}]`, name),
        value: Array.isArray(value) ? texts(what, value) : text(what, value),
      };
    }),
  );
}
