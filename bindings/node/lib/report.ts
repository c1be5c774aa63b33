/** Failures that would be seen nowhere else, in one line each. */
import { show } from './check.js';
import { IsrError } from './errors.js';

/** Paths whose last failure is remembered; beyond, the oldest is forgotten and may be told again. */
const MAX_PATHS = 1000;

/** What is said of a value that was thrown. */
export function message(error: unknown): string {
  if (typeof error === 'string') return error;
  try {
    if (error instanceof Error && typeof error.message === 'string') return error.message || error.name;
    return show(error);
  } catch {
    return 'a value that cannot be shown was thrown';
  }
}

/** The same in one line that moves no terminal's cursor, with the kind of error before it. */
export function line(error: unknown): string {
  const name = error instanceof IsrError ? `${error.code} ` : '';
  return (name + message(error)).replace(/[\p{Cc}\u2028\u2029]+/gu, ' ');
}

/** Tells what no caller can be told. */
export function warning(text: string): void {
  process.emitWarning(text, 'IsrWarning');
}

/** Tells failures of requests on stderr: one of a path once, until the path answers again or fails in another way. */
export class RequestLog {
  readonly #told = new Map<string, string>();

  failed(request: { method?: string | undefined; url?: string | undefined }, what: string): void {
    const path = pathOf(request.url);
    if (this.#told.get(path) === what) return;
    this.#told.delete(path);
    this.#told.set(path, what);
    if (this.#told.size > MAX_PATHS) this.#told.delete(this.#told.keys().next().value as string);
    console.error(`libisr: ${request.method ?? 'GET'} ${path}: ${what}`);
  }

  answered(request: { url?: string | undefined }): void {
    if (this.#told.size > 0) this.#told.delete(pathOf(request.url));
  }
}

/** Without the query: what is in it may be personal, and is no other page. */
function pathOf(url = '/'): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}
