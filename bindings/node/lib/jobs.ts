/** Renders and loads that run in this isolate. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { isThenable, record } from './check.js';
import {
  type DataKey,
  type DataOptions,
  type KeptLoader,
  type Load,
  type LoadJob,
  type RawDataOptions,
  readData,
  type Scope,
  stored,
} from './data.js';
import { IsrError } from './errors.js';
import { keep, runJobsBy } from './isolate.js';
import type { NativeCache, NativeEvent, NativeJob, NativeLoad, NativeRender } from './native.js';
import type { OnFailure, OnTrouble } from './options.js';
import { Page } from './page.js';
import type { PathParams } from './params.js';
import { line, message, warning } from './report.js';
import { nativeResult, type RenderResult } from './result.js';

/**
 * Why a page is rendered. `miss`: nothing was stored (also drafts and pages that may not be stored); `stale`: nobody waits;
 * `expired`; `regenerate` and `prerender`: that was called.
 */
export type Reason = 'miss' | 'stale' | 'expired' | 'regenerate' | 'prerender';

/** Renders one page: returns or resolves to it. To throw or reject is a failed render. */
export type Render<P extends string = string> = (job: RenderJob<P>) => RenderResult | Promise<RenderResult>;

/** What the jobs of a cache need of it. */
export interface Owner {
  readonly native: NativeCache;
  readonly renders: Render[];
  readonly onFailure: OnFailure | undefined;
  readonly onTrouble: OnTrouble | undefined;
}

const scopes = new AsyncLocalStorage<Scope>();
/** Caches by their number. Weak: a cache that nobody can reach closes. */
const owners = new Map<number, WeakRef<Owner>>();
const collected = new FinalizationRegistry<number>((id) => owners.delete(id));
/** Jobs that were neither finished nor given up: one that nothing else refers to must not be collected. */
const running = new Map<NativeJob, Running>();

interface Running {
  readonly job: RenderJob | Loading;
  /** Is told of a failure, be it the timeout, that nobody else may be told of. */
  readonly failed: ((error: IsrError) => void) | undefined;
}

/** Makes a cache known to its renders. */
export function addOwner(id: number, owner: Owner): void {
  owners.set(id, new WeakRef(owner));
  collected.register(owner, id);
}

/** The render or load of this cache in which the caller runs. */
export function within(cache: NativeCache): Scope | undefined {
  const scope = scopes.getStore();
  return scope?.cache === cache ? scope : undefined;
}

/** Who reads for a job: called from a load below it, the entry that is loaded. */
function reader(own: Scope): Scope {
  const scope = scopes.getStore();
  return scope?.root === own.root ? scope : own;
}

/** What a render callback gets. `P` is the pattern, which names the parameters. */
export class RenderJob<P extends string = string> {
  /** The canonical path. */
  readonly path: string;
  /** The route's pattern as it was added. */
  readonly pattern: string;
  /** The path's parameters, decoded: a string, or a list for a catch-all. Without a prototype. */
  readonly params: PathParams<P>;
  /** The variant asked for, listed query values included. Without a prototype. */
  readonly variant: Readonly<Record<string, string | string[]>>;
  /** Why this page is rendered. */
  readonly reason: Reason;
  /** The stored page that the result may replace. */
  readonly previous: Page | undefined;
  /** Whether this is a draft: rendered live for one request and not stored. */
  readonly draft: boolean;
  readonly #scope: Scope;
  #abort: AbortController | undefined;

  /** @internal */
  constructor(cache: NativeCache, render: NativeRender) {
    const { previous } = render;
    this.path = render.path;
    this.pattern = render.pattern;
    // The core has matched the pattern.
    this.params = record(render.params.map(({ name, value }) => [name, value] as const)) as PathParams<P>;
    this.variant = record(render.variant.map(({ name, value }) => [name, value] as const));
    this.reason = render.reason as Reason;
    this.previous = previous ? Page.of(previous.id(), () => previous) : undefined;
    this.draft = render.draft;
    this.#scope = { cache, context: render.context, root: this };
  }

  /** Whether nobody waits for the result any more: it timed out, or the cache is closed. */
  get cancelled(): boolean {
    return this.#scope.context.cancelled();
  }

  /** Aborted soon after {@link RenderJob.cancelled} becomes true: hand it to `fetch` and the like. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.cancelled) this.abort();
    return this.#abort.signal;
  }

  /**
   * Reads a data entry, and waits for fresh data where it is stale. The page takes over the entry's tags, and its lifetime
   * where that is shorter; so await it before the render ends. Rejects with the load's failure.
   */
  data<T>(key: DataKey, load: Load<T>, options?: DataOptions & { raw?: false | undefined }): Promise<T>;
  data(key: DataKey, load: Load<Uint8Array | ArrayBuffer>, options: RawDataOptions): Promise<Buffer>;
  async data(key: DataKey, load: Load<unknown>, options?: DataOptions): Promise<unknown> {
    const by = reader(this.#scope);
    return (await readData(by.cache, by, key, load, options)).value;
  }

  /** @internal */
  get scope(): Scope {
    return this.#scope;
  }

  /** @internal */
  abort(): void {
    this.#abort?.abort();
  }
}

/** A loader's view of its load. */
class Loading implements LoadJob {
  readonly key: readonly string[];
  readonly scope: Scope;

  constructor(kept: KeptLoader, load: NativeLoad) {
    this.key = load.key;
    this.scope = { cache: kept.cache, context: load.context, root: kept.root ?? this };
  }

  get cancelled(): boolean {
    return this.scope.context.cancelled();
  }

  // The overloads of the interface differ in types alone.
  async data(key: DataKey, load: Load<never>, options?: DataOptions): Promise<never> {
    const by = reader(this.scope);
    return (await readData(by.cache, by, key, load, options)).value as never;
  }
}

/** Runs a callback and finishes its job, at once or when its promise settles. */
function run(
  native: NativeJob,
  job: RenderJob | Loading,
  callback: () => unknown,
  complete: (value: unknown) => Error | null | void,
  failed?: (error: IsrError) => void,
): void {
  /** The callback has ended. Gives who is to be told if it failed: nobody, if the job was given up before. */
  const end = (): typeof failed => {
    const late = job.cancelled;
    if (late) lookOver();
    running.delete(native);
    return late ? undefined : failed;
  };
  const fail = (error: unknown, tell: typeof failed): void => {
    const text = message(error);
    native.fail(text, keep(error));
    tell?.(new IsrError('render', text, { cause: error }));
  };
  const finish = (value: unknown): void => {
    const tell = end();
    let refused: Error | null | void;
    try {
      refused = complete(value);
    } catch (error) {
      return fail(error, tell);
    }
    if (refused instanceof IsrError) tell?.(refused);
  };
  running.set(native, { job, failed });
  let value: unknown;
  try {
    value = scopes.run(job.scope, callback);
    if (isThenable(value)) {
      Promise.resolve(value).then(finish, (error) => fail(error, end()));
      return;
    }
  } catch (error) {
    fail(error, end());
    return;
  }
  finish(value);
}

function startRender(event: NativeEvent): void {
  const render = event.render;
  if (!render) return;
  const owner = owners.get(render.cache)?.deref();
  const callback = owner?.renders[render.route];
  if (!owner || !callback) {
    render.job.fail('the cache of this render was collected', keep(undefined));
    return;
  }
  const job = new RenderJob(owner.native, render);
  run(
    render.job,
    job,
    () => callback(job),
    (value) => render.job.completeRender(nativeResult(value)),
    // Whoever asked gets the last good page and no error.
    job.reason === 'stale' || job.reason === 'expired' ? (error) => report(owner, job.path, error) : undefined,
  );
}

function report(owner: Owner, path: string, error: IsrError): void {
  const { onFailure } = owner;
  if (!onFailure) return warning(`the render of ${path} failed, the last good page stays: ${line(error)}`);
  tell(() => onFailure({ path, error }), `onFailure failed for ${path}`);
}

function trouble(event: NativeEvent): void {
  const owner = owners.get(event.id ?? 0)?.deref();
  const { error } = event;
  if (!owner || !(error instanceof IsrError)) return;
  const { onTrouble } = owner;
  if (!onTrouble) return warning(`trouble with the cache's directory, memory goes on alone: ${line(error)}`);
  tell(() => onTrouble(error), 'onTrouble failed');
}

/** Calls a function of the user's; what it throws or rejects with becomes a warning. */
function tell(call: () => unknown, failed: string): void {
  const broken = (thrown: unknown): void => warning(`${failed}: ${line(thrown)}`);
  try {
    const done = call();
    if (isThenable(done)) done.then(undefined, broken);
  } catch (thrown) {
    broken(thrown);
  }
}

function startLoad(event: NativeEvent, loader: unknown): void {
  const load = event.load;
  if (!load) return;
  const kept = loader as KeptLoader;
  const job = new Loading(kept, load);
  run(
    load.job,
    job,
    () => kept.load(job),
    (value) => load.job.completeLoad(stored(value, kept.raw)),
  );
}

/** Aborts what was given up. */
function lookOver(): void {
  for (const [native, { job, failed }] of running) {
    if (!job.cancelled) continue;
    running.delete(native);
    if (!(job instanceof RenderJob)) continue;
    job.abort();
    if (failed && !job.scope.cache.closed()) {
      failed(new IsrError('timeout', `the render of ${job.path} took longer than its timeout`));
    }
  }
}

runJobsBy({ render: startRender, load: startLoad, trouble, lookOver });
