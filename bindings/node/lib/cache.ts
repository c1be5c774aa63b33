/** The cache. */
import { inspect, type InspectOptions } from 'node:util';
import { callback, flag, flatTexts, inspected, known, maybeSeconds, oneOrMore, record, seconds, text, wrong } from './check.js';
import { type DataAnswer, type DataKey, type DataOptions, type Load, type RawDataOptions, readData } from './data.js';
import { IsrError } from './errors.js';
import { ask, isolate, lookOver } from './isolate.js';
import { Hits } from './hits.js';
import { addOwner, type Owner, type Render, within } from './jobs.js';
import { native, type NativeAnswer, type NativeCache, type NativeProgress, type NativeReport } from './native.js';
import { type CacheOptions, cacheOptions, type GetOptions, nativeRoute, type RouteOptions } from './options.js';
import { Answer, Page } from './page.js';
import { nativeResult, type RenderResult } from './result.js';

/** The state of what is stored under a path. */
export type State = 'missing' | 'fresh' | 'stale' | 'expired';

/** What is stored under a path. */
export interface Peek {
  /** Its state. */
  state: State;
  /** Whole seconds since it was generated; 0 where missing. */
  age: number;
  /** The stored page; `undefined` where missing. */
  page: Page | undefined;
}

/** Options of {@link Cache.regenerate}. */
export interface RegenerateOptions extends Pick<GetOptions, 'variant'> {
  /** Does nothing where nothing is stored. */
  onlyGenerated?: boolean | undefined;
}

/** How far a prerender has come. */
export interface PrerenderProgress {
  /** Paths rendered. */
  done: number;
  /** Paths that failed for good. */
  failed: number;
  /** Paths that were stored and fresh. */
  skipped: number;
  /** All paths. */
  total: number;
  /** The path that has just ended. */
  path: string;
}

/** What a prerender did. */
export interface PrerenderReport {
  /** Paths rendered. */
  rendered: number;
  /** Paths that were stored and fresh. */
  skipped: number;
  /** Paths that failed after all attempts, with their last error. */
  failed: { path: string; error: IsrError }[];
}

/** What runs and waits. Quiet: `running === waiting`, and `queued === 0` unless all places are taken. */
export interface Activity {
  /** Renders and background loads that wait for a place. */
  queued: number;
  /** Renders and loads begun and not ended. */
  running: number;
  /** Of these, those that wait for another one. */
  waiting: number;
  /** Grows with each change of the others: two equal values mean that nothing happened in between. */
  version: number;
}

/** Counters since the cache was opened, by name: `hits`, `stale`, `misses`, `renders`, `bytesStored`, ... */
export type Stats = Readonly<Record<string, number>>;

/** Seconds that {@link Cache.close} waits for running renders unless told otherwise. */
const CLOSE_TIMEOUT = 10;
/** About 30 years. */
const MAX_TIMEOUT = 1e9;
let lastCache = 0;

/**
 * A cache of rendered pages (incremental static regeneration).
 *
 * Whatever waits, waits off the event loop; callbacks run on it. A cache keeps the process alive only while answers are
 * awaited or renders run. Every error is an {@link IsrError}.
 *
 * This object belongs to the isolate (main thread or worker) that made it. Isolates of one process that open the same
 * `directory`, or the same `name`, share one cache: its memory, renders, invalidations, places and counters. Each adds the
 * routes, with the same options; a page is rendered by the isolate that asks where it has the route, else by another one.
 * When one closes or ends, its renders do; others that wait for one of them have it begun again in their own.
 */
export class Cache {
  readonly #owner: Owner;
  readonly #native: NativeCache;
  readonly #hits: Hits;

  /**
   * Opens a cache. Throws `invalid_argument` for an unknown option or a value out of its range, `conflict` for one that is
   * not as another isolate gave it for the same cache.
   */
  constructor(options?: CacheOptions) {
    const { named, clock, onFailure, onTrouble } = cacheOptions(options);
    const id = ++lastCache;
    this.#native = guard(() => new native.NativeCache(isolate, id, named, clock));
    this.#hits = guard(() => new Hits(this.#native));
    this.#owner = { native: this.#native, renders: [], onFailure, onTrouble };
    addOwner(id, this.#owner);
  }

  /**
   * Adds a route. `render` is called with a job for each page that has to be rendered, for several pages at a time.
   *
   * Throws `invalid_argument` for a malformed pattern or option, `invalid_tag`, `invalid_path` for a static path that cannot
   * be, `conflict` where a route matches the same paths or another isolate gave it other options, `closed`.
   */
  page<P extends string>(pattern: P, render: Render<P>): this;
  page<P extends string>(pattern: P, options: RouteOptions, render: Render<P>): this;
  page(pattern: string, options: RouteOptions | Render, render?: Render): this {
    const short = typeof options === 'function' && render === undefined;
    const run = short ? options : render;
    callback('render', run);
    const path = text('pattern', pattern);
    const route = nativeRoute(short ? undefined : (options as RouteOptions));
    const { renders } = this.#owner;
    guard(() => this.#native.addRoute(renders.length, path, route));
    renders.push(run as Render);
    return this;
  }

  /**
   * Answers a request: the {@link Answer} itself where it is there at once (a hit, a stale page), else a promise of it.
   * `await` serves both. `path` is the request target, with its query.
   *
   * Never throws. Rejects with `invalid_path`, `no_route`, `render`, `timeout`, `busy`, `closed`; with `invalid_argument`
   * for a wrong argument, and inside a render that would wait for itself.
   */
  get(path: string, options?: GetOptions): Answer | Promise<Answer> {
    const hit = options === undefined ? this.#hits.get(path) : undefined;
    return hit ?? this.#get(path, options);
  }

  #get(path: string, options: GetOptions | undefined): Answer | Promise<Answer> {
    try {
      const cache = this.#native;
      const target = text('path', path, 'invalid_path');
      const { variant, draft, prefetch } = requestOptions(options);
      const there = guard(() => cache.tryGet(target, variant, draft, prefetch));
      if (there !== null) return this.#answer(target, there, options);
      const scope = within(cache);
      return guard(() =>
        ask((id) => cache.get(id, target, variant, draft, prefetch, scope?.context), Answer.of, this.#owner),
      );
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * The answer that {@link Cache.get} would give if that needs no waiting, else `undefined`; then no render begins.
   * Throws what `get` rejects with.
   */
  tryGet(path: string, options?: GetOptions): Answer | undefined {
    const hit = options === undefined ? this.#hits.get(path) : undefined;
    return hit ?? this.#tryGet(path, options);
  }

  #tryGet(path: string, options: GetOptions | undefined): Answer | undefined {
    const target = text('path', path, 'invalid_path');
    const { variant, draft, prefetch } = requestOptions(options);
    const there = guard(() => this.#native.tryGet(target, variant, draft, prefetch));
    return there === null ? undefined : this.#answer(target, there, options);
  }

  /** An answer that was there at once. */
  #answer(path: string, there: NativeAnswer, options: GetOptions | undefined): Answer {
    const answer = Answer.of(there);
    if (options === undefined) this.#hits.keep(path, there, answer);
    return answer;
  }

  /** What is stored, with its state. Starts and touches nothing. Throws `invalid_path`, `no_route`, `closed`. */
  peek(path: string, options?: Pick<GetOptions, 'variant'>): Peek {
    const target = text('path', path, 'invalid_path');
    const variant = variantOf(known('peek options', options, ['variant']).variant);
    const { state, age, page } = guard(() => this.#native.peek(target, variant));
    return { state: state as State, age, page: page ? Page.of(page.id(), () => page) : undefined };
  }

  /**
   * Renders now, even if the page is fresh. With `onlyGenerated` it does nothing where nothing is stored, and resolves to
   * `undefined`. Rejects as {@link Cache.get}; a failed render is an error although the stored page stays.
   */
  regenerate(path: string, options?: RegenerateOptions & { onlyGenerated?: false | undefined }): Promise<Answer>;
  regenerate(path: string, options?: RegenerateOptions): Promise<Answer | undefined>;
  async regenerate(path: string, options?: RegenerateOptions): Promise<Answer | undefined> {
    const target = text('path', path, 'invalid_path');
    const given = known('regenerate options', options, ['variant', 'onlyGenerated']);
    const variant = variantOf(given.variant);
    const only = flag('onlyGenerated', given.onlyGenerated);
    const scope = within(this.#native);
    return guarded(() =>
      ask<NativeAnswer | null, Answer | undefined>(
        (id) => this.#native.regenerate(id, target, variant, only, scope?.context),
        (answer) => (answer === null ? undefined : Answer.of(answer)),
        this.#owner,
      ),
    );
  }

  /**
   * Invalidates pages, hard: by path (`page` or no type: that page, all variants), by pattern (`page`: every page of that
   * route), or everything at or below (`layout`). Takes one or a list; all take effect together or, if one is wrong, none.
   *
   * Returns whether any route could match. Throws `invalid_path`; `invalid_argument` for a malformed pattern, or one
   * without a type.
   */
  revalidatePath(paths: string | readonly string[], type?: 'page' | 'layout'): boolean {
    const list = oneOrMore('path', paths, 'invalid_path');
    const kind = type === undefined ? undefined : text('type', type);
    return guard(() => this.#native.revalidatePath(list, kind));
  }

  /**
   * Invalidates pages and data entries by one tag or a list, hard; with `soft` they are served stale once more while they
   * regenerate, and with `expire` beside it no longer than that many seconds. All take effect together, or none.
   *
   * Throws `invalid_tag`; `invalid_argument` for `expire` without `soft`.
   */
  revalidateTag(
    tags: string | readonly string[],
    options?: { soft?: boolean | undefined; expire?: number | false | undefined },
  ): void {
    const list = oneOrMore('tag', tags, 'invalid_tag');
    const given = known('revalidateTag options', options, ['soft', 'expire']);
    const soft = flag('soft', given.soft);
    const expire = maybeSeconds('expire', given.expire);
    guard(() => this.#native.revalidateTag(list, soft, expire));
  }

  /** Removes the stored pages of one path or a list, all variants. Throws `invalid_path`; then nothing has happened. */
  remove(paths: string | readonly string[]): void {
    const list = oneOrMore('path', paths, 'invalid_path');
    guard(() => this.#native.remove(list));
  }

  /**
   * Renders every path that the routes' `staticParams` list and that is not stored and fresh. Failed paths are in the
   * report and are no error. Rejects with `closed`, and with what `onProgress` threw, once all is done.
   */
  async prerender(options?: {
    onProgress?: ((progress: PrerenderProgress) => void) | undefined;
  }): Promise<PrerenderReport> {
    const { onProgress } = known('prerender options', options, ['onProgress']);
    if (onProgress !== undefined) callback('onProgress', onProgress);
    const thrown: unknown[] = [];
    const progress = (at: NativeProgress): void => {
      try {
        onProgress?.(at);
      } catch (error) {
        thrown.push(error);
      }
    };
    const report = await guarded(() =>
      ask(
        (id) => this.#native.prerender(id, onProgress !== undefined),
        (done: NativeReport) => done as PrerenderReport,
        this.#owner,
        progress,
      ),
    );
    if (thrown.length > 0) throw thrown[0];
    return report;
  }

  /**
   * Reads a data entry: stored as long as its tags and lifetime allow, loaded once for all who ask at the same time. Outside
   * of a render a stale value is given at once while one load runs; inside, use {@link RenderJob.data} or this, which
   * knows the render from its async context.
   *
   * Rejects with the load's failure (`render`, with its `cause`), `invalid_argument`, `invalid_tag`, `busy`, `closed`.
   */
  data<T>(key: DataKey, load: Load<T>, options?: DataOptions & { raw?: false | undefined }): Promise<T>;
  data(key: DataKey, load: Load<Uint8Array | ArrayBuffer>, options: RawDataOptions): Promise<Buffer>;
  async data(key: DataKey, load: Load<unknown>, options?: DataOptions): Promise<unknown> {
    return (await readData(this.#native, within(this.#native), key, load, options)).value;
  }

  /** As {@link Cache.data}, with how the value came about. */
  dataAnswer<T>(
    key: DataKey,
    load: Load<T>,
    options?: DataOptions & { raw?: false | undefined },
  ): Promise<DataAnswer<T>>;
  dataAnswer(key: DataKey, load: Load<Uint8Array | ArrayBuffer>, options: RawDataOptions): Promise<DataAnswer<Buffer>>;
  dataAnswer(key: DataKey, load: Load<never>, options?: DataOptions): Promise<DataAnswer<never>> {
    return readData(this.#native, within(this.#native), key, load, options) as Promise<DataAnswer<never>>;
  }

  /** The present epoch: take it before you render a page yourself, and give it to {@link Cache.put} after. */
  started(): bigint {
    return guard(() => this.#native.started());
  }

  /**
   * Stores a page that was rendered outside of the cache; what was invalidated since `started` holds for it. Returns
   * whether it is stored: not if a newer page is, or its path was removed since, or it may not be stored.
   *
   * Throws `invalid_path`, `no_route`, `render` for an invalid page, `closed`.
   */
  put(path: string, result: RenderResult, options: Pick<GetOptions, 'variant'> & { started: bigint }): boolean {
    const target = text('path', path, 'invalid_path');
    const page = nativeResult(result);
    const given = known('put options', options, ['variant', 'started']);
    const variant = variantOf(given.variant);
    const epoch: unknown = given.started;
    if (typeof epoch !== 'bigint') throw wrong('started', 'the bigint that started() gave', epoch);
    return guard(() => this.#native.put(target, variant, page, epoch));
  }

  /** A signed token that lets its bearer see drafts for this many seconds. */
  draftToken(validFor: number): string {
    const lifetime = seconds('validFor', validFor);
    return guard(() => this.#native.draftToken(lifetime));
  }

  /** Whether a draft token is genuine and has not expired. What is no text is not. */
  verifyDraft(token: unknown): boolean {
    return typeof token === 'string' && guard(() => this.#native.verifyDraft(token));
  }

  /** Counters since the cache was opened, of all isolates that share it. */
  stats(): Stats {
    return record(guard(() => this.#native.stats()).map(({ name, value }) => [name, value] as const));
  }

  /** What runs and waits at this moment, of all isolates that share the cache. */
  activity(): Activity {
    return guard(() => this.#native.activity());
  }

  /**
   * Closes: new calls get `closed`, queued renders fail with it, running ones may finish within `timeout` seconds (default
   * 10); what still runs then is given up. Resolves to whether all ended in time, the cache's own threads included; with 0 it
   * does not wait for those. Calling it again is harmless. Not from
   * within a render, which would wait for itself. Where other isolates share the cache, it goes on for them.
   */
  async close(options?: { timeout?: number | undefined }): Promise<boolean> {
    const { timeout = CLOSE_TIMEOUT } = known('close options', options, ['timeout']);
    if (typeof timeout !== 'number' || !(timeout >= 0 && timeout <= MAX_TIMEOUT)) {
      throw wrong('timeout', `a number of seconds, 0 to ${MAX_TIMEOUT}`, timeout);
    }
    if (within(this.#native)) {
      throw new IsrError('invalid_argument', 'close must not be called from within a render or load of the cache');
    }
    const closed = await guarded(() =>
      ask(
        (id) => this.#native.close(id, timeout),
        (ended: boolean) => ended,
        this.#owner,
      ),
    );
    this.#hits.clear();
    lookOver();
    return closed;
  }

  /** Closes with the default timeout: `await using cache = new Cache()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Whether it is closed. */
  get closed(): boolean {
    return guard(() => this.#native.closed());
  }

  /** @internal */
  [inspect.custom](depth: number, options: InspectOptions): string {
    const { hits, misses, renders } = this.stats();
    const parts = { closed: this.closed, routes: this.#owner.renders.length, hits, misses, renders };
    return inspected('Cache', parts, depth, options);
  }
}

interface RequestOptions {
  variant: string[] | undefined;
  draft: boolean;
  prefetch: boolean;
}

const PLAIN: RequestOptions = { variant: undefined, draft: false, prefetch: false };

function requestOptions(options: GetOptions | undefined): RequestOptions {
  if (options === undefined) return PLAIN;
  const given = known('get options', options, ['variant', 'draft', 'prefetch']);
  return {
    variant: variantOf(given.variant),
    draft: flag('draft', given.draft),
    prefetch: flag('prefetch', given.prefetch),
  };
}

function variantOf(given: Record<string, string> | undefined): string[] | undefined {
  return given === undefined ? undefined : flatTexts('variant', given);
}

/** A call of the addon: what it throws that is not ours is a fault of this library, such as a panic. */
function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof IsrError) throw error;
    throw new IsrError('internal', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function guarded<T>(call: () => T | Promise<T>): Promise<T> {
  return guard(call);
}
