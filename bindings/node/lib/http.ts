/** Serves a cache by `node:http`, and by frameworks that take its listeners. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { Cache } from './cache.js';
import { callback, known, wrong } from './check.js';
import { IsrError } from './errors.js';
import { native } from './native.js';
import { Answer } from './page.js';

/** What a request means to the cache. Each function is called once for each request. */
export interface HandlerOptions {
  /** The variant of a request, such as its language. Declare the header that it comes from as the route's `vary`. */
  variant?: ((request: IncomingMessage) => Record<string, string> | undefined) | undefined;
  /** Whether a request may see drafts; see {@link Cache.verifyDraft}. */
  draft?: ((request: IncomingMessage) => boolean) | undefined;
  /** Whether a request only fetches ahead. */
  prefetch?: ((request: IncomingMessage) => boolean) | undefined;
  /**
   * Answers in place of the built-in page for errors. `status` is the one of the core's table: 400 for `invalid_path`, 404
   * for `no_route`, 503 for `busy` and `closed`, 504 for `timeout`, else 500.
   */
  onError?: ((error: unknown, request: IncomingMessage, response: ServerResponse, status: number) => void) | undefined;
}

/** A listener of `node:http`. `next`, where a framework gives it, gets the requests that no route matches. */
export type Handler = (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void) => void;

const KEYS = ['variant', 'draft', 'prefetch', 'onError'] as const;
const STATUSES = new Map(native.errorKinds().map(({ kind, httpStatus }) => [kind, httpStatus]));
/** Errors are for nobody else. */
const PRIVATE = 'private, no-cache, no-store, max-age=0, must-revalidate';

/** A listener that answers GET and HEAD from the cache: `http.createServer(handler(cache))`. */
export function handler(cache: Cache, options?: HandlerOptions): Handler {
  if (!(cache instanceof Cache)) throw wrong('cache', 'a Cache', cache);
  const given = known('handler options', options, KEYS);
  for (const name of KEYS) if (given[name] !== undefined) callback(name, given[name]);
  const { variant, draft, prefetch, onError } = given;

  return (request, response, next) => {
    const fail = (error: unknown): void => {
      if (next !== undefined && error instanceof IsrError && error.kind === 'no_route') return next();
      const status = (error instanceof IsrError && STATUSES.get(error.kind)) || 500;
      if (onError !== undefined) return onError(error, request, response, status);
      sendPlain(response, status);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      if (next !== undefined) return next();
      return sendPlain(response, 405, ['allow', 'GET, HEAD']);
    }
    try {
      const answer = cache.get(request.url ?? '/', {
        variant: variant?.(request),
        draft: draft?.(request) ?? false,
        prefetch: prefetch?.(request) ?? false,
      });
      if (answer instanceof Answer) return send(answer, request, response);
      answer.then((late) => send(late, request, response)).catch(fail);
    } catch (error) {
      fail(error);
    }
  };
}

/** Sends an answer: status, headers and body as the core says. */
export function send(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
  const { status, headers, body, contentLength } = answer.head({
    method: request.method,
    ifNoneMatch: request.headers['if-none-match'],
    acceptEncoding: one(request.headers['accept-encoding']),
  });
  const fields = headers.flat();
  if (status !== 304) fields.push('content-length', String(contentLength));
  response.writeHead(status, fields);
  response.end(body);
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}

function sendPlain(response: ServerResponse, status: number, more: string[] = []): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
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
