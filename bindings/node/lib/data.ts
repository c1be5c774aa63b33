/** Data entries: stored values that renders read. */
import { bytes, callback, flag, known, maybeSeconds, oneOrMore, texts, wrong } from './check.js';
import { IsrError } from './errors.js';
import { ask, keep } from './isolate.js';
import type { NativeCache, NativeContext, NativeData } from './native.js';
import type { CacheWord } from './page.js';

/** The key of a data entry. A string stands for a list of one; `['a', 'b']` and `['a,b']` differ. */
export type DataKey = string | readonly string[];

/** Options of one read. */
export interface DataOptions {
  /** Tags of the entry that the load stores. */
  tags?: readonly string[] | undefined;
  /** Seconds until the entry is stale. Default `false`: never. `0`: not stored. */
  revalidate?: number | false | undefined;
  /** The value is bytes, kept as they are. Default: any value with a JSON form, kept as JSON text. */
  raw?: boolean | undefined;
}

/** Reads for bytes. */
export interface RawDataOptions extends DataOptions {
  /** The value is bytes. */
  raw: true;
}

/** A value and how it came about. */
export interface DataAnswer<T> {
  /** The value. Bytes are the cache's own memory: read only. */
  value: T;
  /** How it came about. */
  cache: CacheWord;
}

/** What a load callback gets. */
export interface LoadJob {
  /** The entry's key. */
  readonly key: readonly string[];
  /** Whether nobody waits for the value any more. */
  readonly cancelled: boolean;
  /** Reads another entry, whose tags and lifetime then hold for this one, too. */
  data<T>(key: DataKey, load: Load<T>, options?: DataOptions & { raw?: false | undefined }): Promise<T>;
  data(key: DataKey, load: Load<Uint8Array | ArrayBuffer>, options: RawDataOptions): Promise<Buffer>;
}

/**
 * Loads one value: returns or resolves to it. To throw or reject is a failed load. Readers get what JSON makes of the value,
 * whatever `T` says: of a Date a string.
 */
export type Load<T> = (job: LoadJob) => T | Promise<T>;

/** Where in the tree of renders and loads code runs. */
export interface Scope {
  cache: NativeCache;
  context: NativeContext;
  /** The render or load at the top of the tree. */
  root: object;
}

/** A loader as it is kept for the addon. */
export interface KeptLoader {
  cache: NativeCache;
  load: Load<unknown>;
  raw: boolean;
  /** The top of the tree that asked. */
  root: object | undefined;
}

/** Reads a data entry on behalf of a render or load, or of nobody. */
export async function readData(
  cache: NativeCache,
  within: Scope | undefined,
  key: unknown,
  load: unknown,
  options: DataOptions | undefined,
): Promise<DataAnswer<unknown>> {
  const names = oneOrMore('key', key);
  callback('load', load);
  const given = known('data options', options, ['tags', 'revalidate', 'raw']);
  const tags = given.tags === undefined ? [] : texts('tags', given.tags, 'invalid_tag');
  const revalidate = maybeSeconds('revalidate', given.revalidate);
  const raw = flag('raw', given.raw);
  const loader: KeptLoader = { cache, load: load as Load<unknown>, raw, root: within?.root };
  return ask(
    (id) => cache.data(id, within?.context, names, tags, revalidate, keep(loader)),
    (data: NativeData) => ({ value: valueOf(data, names, raw), cache: data.cache() as CacheWord }),
    cache,
  );
}

function valueOf(data: NativeData, key: string[], raw: boolean): unknown {
  if (raw) return data.bytes();
  try {
    return JSON.parse(data.text());
  } catch {
    throw new IsrError('invalid_argument', `the entry ${JSON.stringify(key)} is not JSON; read it with { raw: true }`);
  }
}

/** A loaded value as it is stored. */
export function stored(value: unknown, raw: boolean): string | Uint8Array {
  if (raw) {
    const given = bytes(value);
    if (given === undefined) throw wrong('the value of a load with { raw: true }', 'a Uint8Array or ArrayBuffer', value);
    return given;
  }
  const json: string | undefined = JSON.stringify(value);
  if (json === undefined) throw wrong('the value of a load', 'one with a JSON form', value);
  return json;
}
