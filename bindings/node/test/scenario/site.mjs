// The site of a scenario: what its renders and loads return, how often they began, and which are held.
import { notFound, redirect } from 'libisr';

/** A data key as it is written in counts, holds and `{data:KEY}`. */
export function dataName(key) {
  const list = Array.isArray(key) ? key : [key];
  return list.length === 1 ? list[0] : JSON.stringify(list);
}

/** Compact JSON with sorted keys. Built by hand: an object would put names that look like numbers first. */
function variantName(variant) {
  const entries = Object.entries(variant).map(([name, value]) => [Buffer.from(name), name, value]);
  entries.sort(([a], [b]) => Buffer.compare(a, b));
  return `{${entries.map(([, name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;
}

function renderName(job) {
  const plain = Object.keys(job.variant).length === 0;
  return plain ? job.path : `${job.path} ${variantName(job.variant)}`;
}

/** The n-th element of a script; the last repeats. */
class Script {
  #elements;
  #counts = new Map();

  constructor(elements) {
    this.#elements = new Map(Object.entries(elements ?? {}));
  }

  count(name) {
    return this.#counts.get(name) ?? 0;
  }

  next(name, otherwise) {
    const n = this.count(name);
    this.#counts.set(name, n + 1);
    const list = this.#elements.get(name) ?? [];
    return list[Math.min(n, list.length - 1)] ?? otherwise;
  }
}

/** Names whose jobs block until they are released. */
class Holds {
  #names = new Set();
  #blocked = new Map();

  hold(name) {
    this.#names.add(name);
  }

  release(name) {
    this.#names.delete(name);
    const blocked = this.#blocked.get(name) ?? [];
    this.#blocked.delete(name);
    for (const { go } of blocked) go();
  }

  releaseAll() {
    for (const name of [...this.#blocked.keys(), ...this.#names]) this.release(name);
  }

  /** Resolves at once, or when the name is released. */
  pass(name, job) {
    if (!this.#names.has(name)) return undefined;
    return new Promise((go) => {
      const blocked = this.#blocked.get(name) ?? [];
      blocked.push({ job, go });
      this.#blocked.set(name, blocked);
    });
  }

  /** Jobs that are blocked and still wanted. */
  blocked() {
    return [...this.#blocked.values()].flat().filter(({ job }) => !job.cancelled).length;
  }
}

/** What the callbacks of one scenario do. */
export class Site {
  renders;
  loads;
  holds = new Holds();
  dataHolds = new Holds();
  #rendering = new Set();

  constructor(scenario) {
    this.renders = new Script(scenario.renders);
    this.loads = new Script(scenario.data);
  }

  /** Renders and loads that are blocked. */
  held() {
    return this.holds.blocked() + this.dataHolds.blocked();
  }

  /** Renders begun, not ended and still wanted. */
  rendering() {
    return [...this.#rendering].filter((job) => !job.cancelled).length;
  }

  /** The render callback of every route. */
  render = async (job) => {
    this.#rendering.add(job);
    try {
      return await this.#render(job);
    } finally {
      this.#rendering.delete(job);
    }
  };

  async #render(job) {
    const name = renderName(job);
    const element = this.renders.next(name, { body: job.path });
    const values = await this.#readAll(job, element.reads);
    await this.holds.pass(name, job);
    if (element.panic) throw element.error ?? 'panic'; // not even an Error
    if (element.error !== undefined) throw new Error(element.error);
    return result(element, job, values);
  }

  /** The load callback of a key, with the reads that it does itself. */
  loader(key, reads) {
    const name = dataName(key);
    return async (job) => {
      const element = this.loads.next(name, { value: name });
      await this.#readAll(job, reads);
      await this.dataHolds.pass(name, job);
      if (element.error !== undefined) throw new Error(element.error);
      return element.value ?? '';
    };
  }

  /** Values of the entries read, by name. */
  async #readAll(job, reads = []) {
    const values = new Map();
    for (const read of reads) {
      const options = { tags: read.tags, revalidate: read.revalidate };
      let value;
      try {
        value = await job.data(read.data, this.loader(read.data, read.reads), options);
      } catch (error) {
        if (read.or === undefined) throw error;
        value = read.or;
      }
      values.set(dataName(read.data), value);
    }
    return values;
  }
}

/** The page of a `put`. */
export function plainPage(element) {
  return result(element, { params: {} }, []);
}

function result(element, job, values) {
  const page = element.redirect
    ? redirect(element.redirect.to, element.redirect.status)
    : element.not_found
      ? notFound()
      : {};
  if (element.status !== undefined) page.status = element.status;
  if (element.headers) page.headers = [...Object.entries(page.headers ?? {}), ...Object.entries(element.headers)];
  if (element.body_base64 !== undefined) page.body = Buffer.from(element.body_base64, 'base64');
  else if (element.body !== undefined) page.body = fill(element.body, job, values);
  for (const key of ['revalidate', 'expire', 'tags', 'remove']) {
    if (element[key] !== undefined) page[key] = element[key];
  }
  if (element.no_store) page.noStore = true;
  return page;
}

/** Replaces the known ones of `{data:KEY}` and `{param:NAME}`, in one pass. */
function fill(body, job, values) {
  const known = new Map();
  for (const [key, value] of values) known.set(`{data:${key}}`, value);
  for (const [name, value] of Object.entries(job.params)) {
    known.set(`{param:${name}}`, Array.isArray(value) ? value.join(',') : value);
  }
  if (known.size === 0) return body;
  const tokens = [...known.keys()].sort((a, b) => b.length - a.length);
  const escaped = tokens.map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
  return body.replace(new RegExp(escaped.join('|'), 'g'), (token) => known.get(token));
}
