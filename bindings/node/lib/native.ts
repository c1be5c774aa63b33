/** The addon, and its types: the private half of the package. */
import type { ErrorKind } from './errors.js';

export type Seconds = number | false;

export interface Named {
  name: string;
  value: string | string[];
}

export interface NativeResult {
  body: string | Uint8Array;
  status: number;
  headers: string[];
  revalidate: Seconds | undefined;
  expire: Seconds | undefined;
  tags: string[];
  noStore: boolean;
  remove: boolean;
}

export interface NativeRoute {
  revalidate: Seconds | undefined;
  expire: Seconds | undefined;
  dynamicParams: boolean;
  staticParams: Named[][];
  tags: string[];
  timeout: Seconds | undefined;
  maxConcurrent: Seconds | undefined;
  earlyRefresh: number | undefined;
  query: string[];
  vary: string[];
}

export interface NativePage {
  id(): number;
  path(): string;
  status(): number;
  headers(): [string, string][];
  body(): Buffer;
  etag(): string;
  tags(): string[];
  revalidate(): Seconds;
  expire(): Seconds;
  generated(): number;
}

export interface NativeHead {
  status: number;
  headers: [string, string][];
  body: number;
  contentLength: number;
}

export interface NativeAnswer {
  cache(): string;
  given(): NativeTime;
  age(secs: number, nanos: number): number;
  pageId(): number;
  page(): NativePage;
  head(secs: number, nanos: number, isHead: boolean, ifNoneMatch: string | undefined, acceptEncoding: string | undefined): NativeHead;
  headBody(ifNoneMatch: string | undefined, acceptEncoding: string | undefined): Buffer;
}

export interface NativeData {
  cache(): string;
  bytes(): Buffer;
  text(): string;
}

export interface NativeContext {
  cancelled(): boolean;
}

export interface NativeJob {
  /** The error that the render has failed with where the page is refused. */
  completeRender(result: NativeResult): Error | null;
  completeLoad(value: string | Uint8Array): void;
  fail(message: string, cause: number): void;
}

export interface NativeRender {
  cache: number;
  route: number;
  job: NativeJob;
  context: NativeContext;
  path: string;
  pattern: string;
  params: Named[];
  variant: Named[];
  reason: string;
  draft: boolean;
  previous?: NativePage;
}

export interface NativeLoad {
  job: NativeJob;
  context: NativeContext;
  key: string[];
}

export interface NativeReport {
  rendered: number;
  skipped: number;
  failed: { path: string; error: Error }[];
}

export interface NativeProgress {
  done: number;
  failed: number;
  skipped: number;
  total: number;
  path: string;
}

/** What a promise can be resolved with. */
export type Outcome = NativeAnswer | NativeData | NativeReport | boolean | null;

export interface NativeEvent {
  kind: 'render' | 'load' | 'resolve' | 'reject' | 'progress' | 'trouble' | 'release';
  id?: number;
  render?: NativeRender;
  load?: NativeLoad;
  answer?: NativeAnswer;
  data?: NativeData;
  report?: NativeReport;
  closed?: boolean;
  progress?: NativeProgress;
  error?: Error;
}

export interface NativeIsolate {
  next(): NativeEvent | null;
  settle(): boolean;
}

export interface NativeClock {
  now(): number;
  advance(by: Seconds): void;
  setWall(to: number): void;
}

export interface NativeCache {
  addRoute(index: number, pattern: string, route: NativeRoute): void;
  tryGet(path: string, variant: string[] | undefined, draft: boolean, prefetch: boolean): NativeAnswer | null;
  get(
    id: number,
    path: string,
    variant: string[] | undefined,
    draft: boolean,
    prefetch: boolean,
    within: NativeContext | undefined,
  ): NativeAnswer | null;
  regenerate(
    id: number,
    path: string,
    variant: string[] | undefined,
    onlyGenerated: boolean,
    within: NativeContext | undefined,
  ): void;
  prerender(id: number, withProgress: boolean): void;
  data(
    id: number,
    within: NativeContext | undefined,
    key: string[],
    tags: string[],
    revalidate: Seconds | undefined,
    loader: number,
  ): NativeData | null;
  peek(path: string, variant: string[] | undefined): { state: string; age: number; page?: NativePage };
  started(): bigint;
  put(path: string, variant: string[] | undefined, result: NativeResult, started: bigint): boolean;
  revalidatePath(paths: string[], kind: string | undefined): boolean;
  revalidateTag(tags: string[], soft: boolean, expire: Seconds | undefined): void;
  remove(paths: string[]): void;
  draftToken(validFor: Seconds): string;
  verifyDraft(token: string): boolean;
  stats(): { name: string; value: number }[];
  activity(): { queued: number; running: number; waiting: number; version: number };
  close(id: number, timeout: number): void;
  closed(): boolean;
}

/** A time since 1970, in numbers that hold it exactly. */
export interface NativeTime {
  secs: number;
  nanos: number;
}

export interface NativeHits {
  words(): Buffer;
  keep(path: string, answer: NativeAnswer): number | null;
  /** Doubles that the next `again` writes: `Seen` of the core in its order, and a {@link NativeTime}. */
  seen(): Buffer;
  again(number: number): boolean;
  mark(numbers: Int32Array): void;
  release(number: number): void;
  letGo(): number[];
}

export interface Native {
  Isolate: new (
    drain: () => void,
    makeError: (kind: ErrorKind, message: string, cause: number | null) => Error,
  ) => NativeIsolate;
  NativeClock: new (isolate: NativeIsolate, start: number) => NativeClock;
  NativeCache: new (
    isolate: NativeIsolate,
    id: number,
    options: { name: string; value: number | boolean | string | string[] }[],
    clock: NativeClock | undefined,
  ) => NativeCache;
  NativeHits: new (cache: NativeCache) => NativeHits;
  errorKinds(): { kind: ErrorKind; code: number; httpStatus: number }[];
  optionNames(): string[];
}

export const native: Native = require('../isr.node');
