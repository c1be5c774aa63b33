// What a step must show, against what came.
import { isDeepStrictEqual } from 'node:util';
import { IsrError } from 'libisr';

const show = (value) => (value === undefined ? 'nothing' : JSON.stringify(value));
const sorted = (list) => [...list].sort();
const fieldNames = (value) =>
  sorted(
    String(value)
      .split(',')
      .map((name) => name.trim().toLowerCase()),
  );

/** Collects differences of one step. `stored` holds the values that `$NAME` stands for. */
export class Differences {
  list = [];
  #stored;

  constructor(stored) {
    this.#stored = stored;
  }

  same(what, expected, got) {
    if (!isDeepStrictEqual(expected, got)) this.list.push(`${what}: expected ${show(expected)}, got ${show(got)}`);
  }

  /** Compares what `expect` names with what came; `special` compares some keys in a way of their own. */
  all(expect, got, special = {}) {
    for (const [key, expected] of Object.entries(expect)) {
      if (special[key]) special[key](expected);
      else this.same(key, expected, got[key]);
    }
  }

  anyOrder(what, expected, got) {
    this.same(what, sorted(expected), got && sorted(got));
  }

  headers(expected, fields) {
    for (const [name, value] of Object.entries(expected)) {
      const lower = name.toLowerCase();
      const values = fields.filter(([other]) => other === lower).map(([, v]) => v);
      const got = values.length > 0 ? values.join(', ') : undefined;
      if (value === null) this.same(`header ${name}`, undefined, got);
      else if (value.startsWith('$')) this.#named(name, value.slice(1), got);
      else if (lower === 'vary') this.same('header vary', fieldNames(value), got && fieldNames(got));
      else this.same(`header ${name}`, value, got);
    }
  }

  #named(header, name, got) {
    if (this.#stored.has(name)) this.same(`header ${header}`, this.#stored.get(name), got);
    else if (got === undefined) this.list.push(`header ${header}: expected a value for $${name}, got nothing`);
    else this.#stored.set(name, got);
  }

  /** Whether the outcome of a call goes on to be compared: it is the value that was expected, not an error. */
  outcome(expect, error) {
    if (error === undefined) {
      if (expect.error !== undefined) this.list.push(`error: expected ${show(expect.error)}, got an answer`);
      return expect.error === undefined;
    }
    if (!(error instanceof IsrError)) throw error;
    if (expect.error === undefined) {
      this.list.push(`error: expected none, got ${error.kind}: ${error.message}`);
      return false;
    }
    this.same('error', expect.error, error.kind);
    if (expect.message !== undefined && !error.message.includes(expect.message)) {
      this.list.push(`message: expected one with ${show(expect.message)}, got ${show(error.message)}`);
    }
    return false;
  }
}

/** A text with `$NAME` replaced by what is stored under that name, the longest name first. */
export function substitute(value, stored) {
  const names = [...stored.keys()].sort((a, b) => b.length - a.length);
  const escaped = names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
  if (names.length === 0) return value;
  return value.replace(new RegExp(`\\$(${escaped.join('|')})`, 'g'), (_, name) => stored.get(name));
}
