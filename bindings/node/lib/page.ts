/** Pages and answers. */
import { inspect, type InspectOptions } from 'node:util';
import { markAsUntransferable } from 'node:worker_threads';
import { inspected, known, text } from './check.js';
import type { NativeAnswer, NativePage, NativeTime } from './native.js';

/** How an answer came about. `bypass`: not from the store and not for it. */
export type CacheWord = 'hit' | 'stale' | 'miss' | 'revalidated' | 'stale-error' | 'bypass';

/** A header field: name in lower case, and value. */
export type HeaderField = readonly [name: string, value: string];

/** Page objects by the address of what they hold, so that a page is one object while anybody uses it. */
const pages = new Map<number, WeakRef<Page>>();
const collected = new FinalizationRegistry<number>((id) => {
  if (pages.get(id)?.deref() === undefined) pages.delete(id);
});
const NO_BYTES = Buffer.alloc(0);

/** A stored response. It never changes. */
export class Page {
  readonly #native: NativePage;
  #body: Buffer | undefined;
  #encoded: Map<number, Buffer> | undefined;
  #headers: readonly HeaderField[] | undefined;

  private constructor(page: NativePage) {
    this.#native = page;
  }

  /** The canonical path. */
  get path(): string {
    return this.#native.path();
  }

  /** The HTTP status. */
  get status(): number {
    return this.#native.status();
  }

  /** The render's own header fields. What a client is sent is {@link Answer.head}. */
  get headers(): readonly HeaderField[] {
    return (this.#headers ??= this.#native.headers());
  }

  /** The value of the first header field of this name, in any case. */
  header(name: string): string | undefined {
    const lower = text('name', name).toLowerCase();
    return this.headers.find(([other]) => other === lower)?.[1];
  }

  /**
   * The body: the cache's own memory without a copy, the same Buffer each time, valid as long as you hold it.
   * **Read only**: writing to it would change the page for everybody.
   */
  get body(): Buffer {
    return (this.#body ??= shared(this.#native.body()));
  }

  /** The strong etag with its quotes; empty for a page that is not for the store. */
  get etag(): string {
    return this.#native.etag();
  }

  /** All tags: the route's, the result's, and those of the data entries read. */
  get tags(): string[] {
    return this.#native.tags();
  }

  /** Seconds until it is stale; `false`: never. */
  get revalidate(): number | false {
    return this.#native.revalidate();
  }

  /** Seconds until it is expired; `false`: never. */
  get expire(): number | false {
    return this.#native.expire();
  }

  /** When it was stored, in seconds since 1970. */
  get generated(): number {
    return this.#native.generated();
  }

  /** @internal */
  [inspect.custom](depth: number, options: InspectOptions): string {
    const { path, status, tags, revalidate, expire } = this;
    return inspected('Page', { path, status, bytes: this.body.length, tags, revalidate, expire }, depth, options);
  }

  /** @internal */
  encoded(id: number, make: () => Buffer): Buffer {
    this.#encoded ??= new Map();
    let body = this.#encoded.get(id);
    if (body === undefined) {
      body = shared(make());
      this.#encoded.set(id, body);
    }
    return body;
  }

  /** @internal */
  static of(id: number, make: () => NativePage): Page {
    const there = pages.get(id)?.deref();
    if (there !== undefined) return there;
    const page = new Page(make());
    pages.set(id, new WeakRef(page));
    collected.register(page, id);
    return page;
  }
}

/** A transfer to a worker would take the bytes away from everybody here. */
function shared(body: Buffer): Buffer {
  markAsUntransferable(body.buffer);
  return body;
}

/** The parts of a request that choose among 200, 304 and the encodings. */
export interface HeadOptions {
  /** `HEAD` leaves the body out. */
  method?: string | undefined;
  /** The value of `if-none-match`. */
  ifNoneMatch?: string | undefined;
  /** The value of `accept-encoding`. */
  acceptEncoding?: string | undefined;
}

/** What to send. */
export interface Head {
  /** The page's status, or 304. */
  status: number;
  /** All header fields but `content-length` and `date`. */
  headers: HeaderField[];
  /** The body; empty for HEAD and 304. Read only, as {@link Page.body}. */
  body: Buffer;
  /** For `content-length`: that of the body, also for HEAD. */
  contentLength: number;
}

/** @internal What is sent for a request, as `node:http` takes it. */
export interface Prepared {
  status: number;
  /** Name, value, name, value, ... */
  fields: string[];
  body: Buffer;
}

/** @internal With the request that it was made for. */
interface LastPrepared {
  method: string | undefined;
  match: string | undefined;
  accept: string | undefined;
  made: Prepared;
}

/** What all answers that were made of one have in common. */
interface Facts {
  readonly native: NativeAnswer;
  page: Page | undefined;
  cache: CacheWord | undefined;
}

/** An answer to a request: a page, and how it came about. */
export class Answer {
  // Few, for a page that is asked for all the time has a new one each second.
  #body: Buffer | undefined;
  readonly #facts: Facts;
  #given: NativeTime | undefined;
  #age: number | undefined;
  #prepared: LastPrepared | undefined;

  private constructor(facts: Facts, body: Buffer | undefined, given: NativeTime | undefined) {
    this.#body = body;
    this.#facts = facts;
    this.#given = given;
    this.#age = undefined;
    this.#prepared = undefined;
  }

  /** @internal */
  static of(native: NativeAnswer): Answer {
    return new Answer({ native, page: undefined, cache: undefined }, undefined, undefined);
  }

  /** @internal The same, given at another time: answers never change. */
  at(given: NativeTime): Answer {
    return new Answer(this.#facts, this.#body, given);
  }

  /** How it came about. */
  get cache(): CacheWord {
    return (this.#facts.cache ??= this.#facts.native.cache() as CacheWord);
  }

  /** The page. */
  get page(): Page {
    const { native } = this.#facts;
    return (this.#facts.page ??= Page.of(native.pageId(), () => native.page()));
  }

  /** The page's status. */
  get status(): number {
    return this.page.status;
  }

  /** The page's body; read only, see {@link Page.body}. */
  get body(): Buffer {
    return (this.#body ??= this.page.body);
  }

  /** The render's own header fields; see {@link Answer.head} for those to send. */
  get headers(): readonly HeaderField[] {
    return this.page.headers;
  }

  /** Whole seconds since the page was generated, at the time of the answer. */
  get age(): number {
    if (this.#age === undefined) {
      const { secs, nanos } = this.#when();
      this.#age = this.#facts.native.age(secs, nanos);
    }
    return this.#age;
  }

  /** Status, headers and body to send: `cache-control`, `age`, `etag`, 304, `cache-status`, `x-isr-cache`, `vary`. */
  head(options?: HeadOptions): Head {
    const given = known('head options', options, ['method', 'ifNoneMatch', 'acceptEncoding']);
    const method = given.method === undefined ? 'GET' : text('method', given.method);
    const match = given.ifNoneMatch === undefined ? undefined : text('ifNoneMatch', given.ifNoneMatch);
    const accept = given.acceptEncoding === undefined ? undefined : text('acceptEncoding', given.acceptEncoding);
    const { secs, nanos } = this.#when();
    const head = this.#facts.native.head(secs, nanos, method === 'HEAD', match, accept);
    return {
      status: head.status,
      headers: head.headers,
      body: this.#bodyOf(head.body, match, accept),
      contentLength: head.contentLength,
    };
  }

  /** @internal */
  [inspect.custom](depth: number, options: InspectOptions): string {
    const { cache, age, status } = this;
    const { path } = this.page;
    return inspected('Answer', { cache, path, status, age, bytes: this.body.length }, depth, options);
  }

  #when(): NativeTime {
    return (this.#given ??= this.#facts.native.given());
  }

  /** @internal What `prepare` makes of its head, made once for requests that are alike. */
  prepared(
    method: string | undefined,
    match: string | undefined,
    accept: string | undefined,
    prepare: (head: Head) => Prepared,
  ): Prepared {
    const last = this.#prepared;
    if (last !== undefined && last.method === method && last.match === match && last.accept === accept) return last.made;
    const made = prepare(this.head({ method, ifNoneMatch: match, acceptEncoding: accept }));
    this.#prepared = { method, match, accept, made };
    return made;
  }

  #bodyOf(id: number, match: string | undefined, accept: string | undefined): Buffer {
    if (id === 0) return NO_BYTES;
    if (id === 1) return this.body;
    return this.page.encoded(id, () => this.#facts.native.headBody(match, accept));
  }
}
