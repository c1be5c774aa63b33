/** Errors of the cache. */

/**
 * What went wrong:
 * - `invalid_path`: the path cannot be a key
 * - `no_route`: no route matches the path
 * - `render`: the callback failed, or gave a status of 500 or above, or an invalid page
 * - `timeout`: the callback took longer than the route's `timeout`
 * - `busy`: `maxQueue` renders wait already
 * - `invalid_tag`: a tag is empty, longer than 256 bytes, has a control byte, or is one too many
 * - `invalid_argument`: an argument is wrong; the message names the value and the rule
 * - `conflict`: a route with another pattern matches the same paths, or an option is not as others gave it who share the cache
 * - `closed`: the cache is closed
 * - `finished`: the job was finished before
 * - `internal`: a fault inside the library; please report it
 * - `store`: the directory cannot be used; told to `onTrouble`, thrown by no call
 */
export type ErrorKind = (typeof ERROR_KINDS)[number];

/** Every kind of error, in the order of the core's table. */
export const ERROR_KINDS = [
  'invalid_path',
  'no_route',
  'render',
  'timeout',
  'busy',
  'invalid_tag',
  'invalid_argument',
  'conflict',
  'closed',
  'finished',
  'internal',
  'store',
] as const;

/** The `code` of an error: `ISR_` and the kind in upper case, such as `ISR_NO_ROUTE`. */
export type ErrorCode = `ISR_${Uppercase<ErrorKind>}`;

/** Every error that this library throws or rejects with. */
export class IsrError extends Error {
  /** What went wrong. */
  readonly kind: ErrorKind;
  /** The kind in the form of Node's own error codes. */
  readonly code: ErrorCode;

  /** `options.cause` of a failed render or load is the value that the callback threw or rejected with. */
  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.code = `ISR_${kind.toUpperCase() as Uppercase<ErrorKind>}`;
  }
}
Object.defineProperty(IsrError.prototype, 'name', {
  value: 'IsrError',
  writable: true,
  configurable: true,
});
