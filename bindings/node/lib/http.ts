/** Serves a cache by `node:http`, and by frameworks that take its listeners. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { Cache } from './cache.js';
import { callback, isThenable, known, wrong } from './check.js';
import { IsrError } from './errors.js';
import { native } from './native.js';
import type { GetOptions } from './options.js';
import { Answer, type Head, type Prepared } from './page.js';
import { line, RequestLog } from './report.js';

/** What a request means to the cache. Each function is called once for each request; a promise is awaited. */
export interface HandlerOptions {
  /** The variant of a request, such as its language. Declare the header that it comes from as the route's `vary`. */
  variant?: ((request: IncomingMessage) => Variant | Promise<Variant>) | undefined;
  /** Whether a request may see drafts; see {@link Cache.verifyDraft}. */
  draft?: ((request: IncomingMessage) => boolean | Promise<boolean>) | undefined;
  /** Whether a request only fetches ahead. */
  prefetch?: ((request: IncomingMessage) => boolean | Promise<boolean>) | undefined;
  /**
   * Answers in place of the built-in page for errors, which then are not reported on stderr. `status` is the one of the
   * core's table: 400 for `invalid_path`, 404 for `no_route`, 503 for `busy` and `closed`, 504 for `timeout`, else 500. If
   * it throws or rejects, that is reported and the built-in page sent.
   */
  onError?:
    | ((error: unknown, request: IncomingMessage, response: ServerResponse, status: number) => void | Promise<void>)
    | undefined;
}

type Variant = Record<string, string> | undefined;

/** A listener of `node:http`. `next`, where a framework gives it, gets the requests that no route matches. */
export type Handler = (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void) => void;

type Next = Parameters<Handler>[2];

const KEYS = ['variant', 'draft', 'prefetch', 'onError'] as const;
const STATUSES = new Map(native.errorKinds().map(({ kind, httpStatus }) => [kind, httpStatus]));
/** Errors are for nobody else. */
const PRIVATE = 'private, no-cache, no-store, max-age=0, must-revalidate';

/** Headers of an answer that never was, which would make the error page unreadable. */
const OF_THE_BODY = ['content-encoding', 'content-range', 'etag', 'last-modified', 'transfer-encoding'];

/**
 * A listener that answers GET and HEAD from the cache: `http.createServer(handler(cache))`.
 *
 * Without `onError`, failures with a status of 500 and above are reported on stderr by `console.error`, one line each: those
 * of a path once, until it answers again or fails in another way.
 */
export function handler(cache: Cache, options?: HandlerOptions): Handler {
  if (!(cache instanceof Cache)) throw wrong('cache', 'a Cache', cache);
  const given = known('handler options', options, KEYS);
  for (const name of KEYS) if (given[name] !== undefined) callback(name, given[name]);
  const { variant, draft, prefetch, onError } = given;
  const log = new RequestLog();

  // Nothing is asked of the request.
  const isPlain = variant === undefined && draft === undefined && prefetch === undefined;

  const answered = (answer: Answer, request: IncomingMessage, response: ServerResponse): void => {
    send(answer, request, response);
    log.answered(request);
  };
  const fail = (error: unknown, request: IncomingMessage, response: ServerResponse, next: Next): void => {
    if (next !== undefined && error instanceof IsrError && error.kind === 'no_route') return next();
    const status = (error instanceof IsrError && STATUSES.get(error.kind)) || 500;
    // A head that could not be written has left its reason phrase.
    if (Object.hasOwn(response, 'statusMessage')) response.statusMessage = '';
    if (onError === undefined) {
      if (status >= 500) log.failed(request, line(error));
      return sendPlain(response, status);
    }
    const broken = (thrown: unknown): void => {
      log.failed(request, `${line(error)}; onError failed: ${line(thrown)}`);
      if (!response.writableEnded) sendPlain(response, status);
    };
    try {
      const done: unknown = onError(error, request, response, status);
      if (isThenable(done)) done.then(undefined, broken);
    } catch (thrown) {
      broken(thrown);
    }
  };
  const ask = (option: ((request: IncomingMessage) => unknown) | undefined, request: IncomingMessage): unknown => {
    const said = option?.(request);
    // If another one throws, nobody waits for this.
    if (isThenable(said)) said.then(undefined, () => {});
    return said;
  };
  const get = (request: IncomingMessage): Answer | Promise<Answer> => {
    const path = request.url ?? '/';
    if (isPlain) return cache.get(path);
    const asked = [ask(variant, request), ask(draft, request), ask(prefetch, request)];
    const withThese = ([variant, draft, prefetch]: readonly unknown[]): Answer | Promise<Answer> =>
      cache.get(path, { variant, draft: draft ?? false, prefetch: prefetch ?? false } as GetOptions);
    return asked.some(isThenable) ? Promise.all(asked).then(withThese) : withThese(asked);
  };

  // A hit makes no function of its own here.
  return (request, response, next) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      if (next !== undefined) return next();
      return sendPlain(response, 405, ['allow', 'GET, HEAD']);
    }
    try {
      const answer = get(request);
      if (answer instanceof Answer) return answered(answer, request, response);
      later(answer, request, response, next);
    } catch (error) {
      fail(error, request, response, next);
    }
  };

  function later(answer: Promise<Answer>, request: IncomingMessage, response: ServerResponse, next: Next): void {
    answer
      .then((there) => answered(there, request, response))
      .catch((error: unknown) => fail(error, request, response, next));
  }
}

/** Sends an answer: status, headers and body as the core says. Header values are written as UTF-8. */
export function send(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
  let match: string | undefined;
  let accept: string | undefined;
  if (hasConditions(request)) {
    match = request.headers['if-none-match'];
    accept = one(request.headers['accept-encoding']);
  }
  const { status, fields, body } = answer.prepared(request.method, match, accept, prepare);
  response.writeHead(status, fields);
  response.end(body);
}

/** Whether there may be one. Node makes the object of headers when it is first asked for, which takes longer than this. */
function hasConditions({ rawHeaders }: IncomingMessage): boolean {
  if (!Array.isArray(rawHeaders) || rawHeaders.length === 0) return true;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 13 && name.toLowerCase() === 'if-none-match') return true;
    if (name.length === 15 && name.toLowerCase() === 'accept-encoding') return true;
  }
  return false;
}

/** A head as `writeHead` takes it. */
function prepare({ status, headers, body, contentLength }: Head): Prepared {
  const fields = headers.flatMap(([name, value]) => [name, utf8(value)]);
  if (status !== 304) fields.push('content-length', String(contentLength));
  return { status, fields, body };
}

/** Node writes each character of a header as one byte, and refuses those that are none. */
function utf8(value: string): string {
  return /[^\0-\x7f]/.test(value) ? Buffer.from(value).toString('latin1') : value;
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}

function sendPlain(response: ServerResponse, status: number, more: string[] = []): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  for (const name of OF_THE_BODY) response.removeHeader(name);
  const body = `${STATUS_CODES[status] ?? 'Error'}\n`;
  response.writeHead(status, [
    'content-type',
    'text/plain; charset=utf-8',
    'content-length',
    String(Buffer.byteLength(body)),
    'cache-control',
    PRIVATE,
    ...more,
  ]);
  response.end(body);
}
