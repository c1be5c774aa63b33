/**
 * Incremental static regeneration for every Node server.
 *
 * Start with {@link Cache}. What each state, header and option means is the same in every language that libisr speaks.
 */
export {
  type Activity,
  Cache,
  type Peek,
  type PrerenderProgress,
  type PrerenderReport,
  type RegenerateOptions,
  type State,
  type Stats,
} from './cache.js';
export { ManualClock } from './clock.js';
export type { DataAnswer, DataKey, DataOptions, Load, LoadJob, RawDataOptions } from './data.js';
export { ERROR_KINDS, type ErrorCode, type ErrorKind, IsrError } from './errors.js';
export type { Reason, Render, RenderJob } from './jobs.js';
export type { CacheOptions, Failure, GetOptions, OnFailure, OnTrouble, RouteOptions, RouteParams } from './options.js';
export { Answer, type CacheWord, type Head, type HeaderField, type HeadOptions, Page } from './page.js';
export type { PathParams } from './params.js';
export { type Body, notFound, type PageResult, redirect, type RenderResult, type ResultHeaders } from './result.js';
