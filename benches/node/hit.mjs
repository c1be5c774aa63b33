// Hits of libisr beside other caches of Node: nanoseconds of processor time a look-up, that of the garbage collector with it,
// medians of interleaved rounds, as lines of JSON.
//
//     node hit.mjs [--pages 100000] [--lookups 300000] [--rounds 7]
//
// "same strings": the keys are the very strings that the pages were stored by. "fresh strings": each is made from bytes for the
// look-up, as a URL from a socket; what that costs alone is a row of its own.

import { parseArgs } from 'node:util';
import { Cache } from 'libisr';
import { LRUCache } from 'lru-cache';
import NodeCache from 'node-cache';

const number = (fallback) => ({ type: 'string', default: String(fallback) });
const { values } = parseArgs({ options: { pages: number(100000), lookups: number(300000), rounds: number(7) } });
const [pages, lookups, rounds] = [values.pages, values.lookups, values.rounds].map(Number);
const BODY = 256;

const paths = Array.from({ length: pages }, (_, n) => `/blog/${n}`);
const order = zipf(pages, lookups);
const same = Array.from(order, (n) => paths[n]);
const bytes = paths.map((path) => Buffer.from(path));
const sources = Array.from(order, (n) => bytes[n]);

const cache = new Cache({ maxBytes: 2 ** 34 });
cache.page('/blog/[id]', { tags: ['blog'] }, () => 'not rendered here');
const map = new Map();
const lru = new LRUCache({ max: 2 * pages, ttl: 3600_000 });
const nodeCache = new NodeCache({ stdTTL: 3600, useClones: false, checkperiod: 0 });
for (const path of paths) {
  const body = Buffer.alloc(BODY, 'x');
  cache.put(path, body, { started: cache.started() });
  map.set(path, { body });
  lru.set(path, { body });
  nodeCache.set(path, { body });
}

// Each has loops of its own, so that no call site sees the shapes of another contestant; V8 knows them by their text.
let loops = 0;
function contestant(look) {
  const loop = (keys, key) => {
    const code = `/* ${++loops} */ let sum = 0; for (let i = 0; i < keys.length; i++) sum += look(${key}).body.length; return sum;`;
    return new Function('look', 'keys', code).bind(null, look, keys);
  };
  return { same: loop(same, 'keys[i]'), fresh: loop(sources, "keys[i].latin1Slice(0, keys[i].length)") };
}
const contestants = {
  libisr: contestant((path) => cache.get(path)),
  'libisr, tryGet': contestant((path) => cache.tryGet(path)),
  'limit: Map': contestant((path) => map.get(path)),
  'lru-cache with ttl': contestant((path) => lru.get(path)),
  'node-cache': contestant((path) => nodeCache.get(path)),
};
const only = { body: { length: BODY } };
const strings = contestant((path) => (path.charCodeAt(1) ? only : undefined)).fresh;

const samples = new Map();
for (let round = 0; round <= rounds; round++) {
  for (const kind of ['same', 'fresh']) {
    for (const [name, loops] of Object.entries(contestants)) measure(round, kind, name, loops[kind]);
  }
  measure(round, 'fresh', 'the strings alone', strings);
}
for (const [key, times] of samples) {
  const [kind, name] = key.split('|');
  times.sort((a, b) => a - b);
  const row = { part: 'node', case: `hit, ${pages} pages, ${kind} strings`, name, x: pages, unit: 'ns', value: times[times.length >> 1] };
  console.log(JSON.stringify(row));
}

function measure(round, kind, name, loop) {
  const begin = process.cpuUsage();
  const sum = loop();
  const { user, system } = process.cpuUsage(begin);
  if (sum !== lookups * BODY) throw new Error(`${name} has not found every page`);
  if (round === 0) return; // for the compiler
  const key = `${kind}|${name}`;
  if (!samples.has(key)) samples.set(key, []);
  samples.get(key).push(((user + system) * 1000) / lookups);
}

/** Indices in Zipf order with exponent 0.99, the same on every run. */
function zipf(n, count) {
  const random = xorshift(7);
  const cumulated = new Float64Array(n);
  let sum = 0;
  for (let rank = 1; rank <= n; rank++) cumulated[rank - 1] = sum += rank ** -0.99;
  const keys = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [keys[i], keys[j]] = [keys[j], keys[i]];
  }
  return Uint32Array.from({ length: count }, () => {
    const at = random() * sum;
    let [low, high] = [0, n - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulated[middle] < at) low = middle + 1;
      else high = middle;
    }
    return keys[low];
  });
}

function xorshift(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
