// The form of a scenario file (tests/scenarios, docs/scenarios.md): every key is known and of its type, or the scenario fails.

/** A scenario that breaks the format. */
export class FormatError extends Error {}

const fail = (where, rule, value) => {
  throw new FormatError(`${where} must be ${rule}; got ${JSON.stringify(value)}`);
};
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

const text = (where, value) => typeof value === 'string' || fail(where, 'a text', value);
const number = (where, value) => typeof value === 'number' || fail(where, 'a number', value);
const whole = (where, value) => Number.isInteger(value) || fail(where, 'a whole number', value);
const flag = (where, value) => typeof value === 'boolean' || fail(where, 'true or false', value);
const yes = (where, value) => value === true || fail(where, 'true', value);
const lifetime = (where, value) => value === false || number(where, value);
const limit = (where, value) => value === null || number(where, value);
const anything = () => true;
const list = (of) => (where, value) => {
  if (!Array.isArray(value)) fail(where, 'a list', value);
  value.forEach((item, i) => of(`${where}[${i}]`, item));
};
const map = (of) => (where, value) => {
  if (!isObject(value)) fail(where, 'an object', value);
  for (const [key, item] of Object.entries(value)) of(`${where}.${key}`, item);
};
const shape = (keys) => (where, value) => {
  if (!isObject(value)) fail(where, 'an object', value);
  for (const [key, item] of Object.entries(value)) {
    if (!Object.hasOwn(keys, key)) throw new FormatError(`${where} has the unknown key ${JSON.stringify(key)}`);
    keys[key](`${where}.${key}`, item);
  }
};
const oneOrMore = (where, value) => (Array.isArray(value) ? list(text)(where, value) : text(where, value));
const params = map(oneOrMore);

const cache = shape({
  deployment: text,
  max_entry_bytes: number,
  max_bytes: number,
  stale_if_error: limit,
  backoff_jitter: number,
  max_queue: number,
  threads: number,
  max_regenerations: number,
  max_regenerations_per_tag: number,
  early_refresh: number,
  persist: flag,
  default_revalidate: lifetime,
  default_expire: lifetime,
});

// What a wrong route or result is told is for the library: values have any type here.
const route = shape({
  pattern: anything,
  revalidate: anything,
  expire: anything,
  dynamic_params: flag,
  static_params: list(params),
  tags: list(text),
  timeout: lifetime,
  max_concurrent: number,
  early_refresh: number,
  query: list(text),
  vary: map(text),
});

const read = shape({
  data: oneOrMore,
  tags: list(text),
  revalidate: anything,
  reads: (where, value) => list(read)(where, value),
  or: text,
});

const render = shape({
  body: text,
  body_base64: text,
  status: number,
  headers: map(text),
  revalidate: anything,
  expire: anything,
  tags: list(text),
  no_store: yes,
  remove: yes,
  not_found: yes,
  redirect: shape({ to: text, status: number }),
  reads: list(read),
  error: text,
  panic: yes,
});

/** The page of a `put`, which no callback renders. */
const plain = (where, value) => {
  render(where, value);
  for (const key of ['reads', 'error', 'panic']) {
    if (Object.hasOwn(value, key)) throw new FormatError(`${where}: ${key} is for callbacks`);
  }
};

const load = shape({ value: text, error: text });

const error = { error: text, message: text };
const answer = {
  cache: text,
  status: number,
  body: text,
  body_base64: text,
  headers: map((where, value) => value === null || text(where, value)),
  ...error,
};

/** For each action: the keys beside it, and those of its `expect`. */
const ACTIONS = {
  get: {
    of: text,
    beside: { start: text, variant: map(text), headers: map(text), draft: flag, prefetch: flag, method: text },
    expect: answer,
  },
  regenerate: { of: text, beside: { start: text, only_generated: flag }, expect: { ...answer, rendered: flag } },
  data_get: {
    of: oneOrMore,
    beside: { start: text, tags: list(text), revalidate: anything },
    expect: { value: text, cache: text, ...error },
  },
  join: { of: text },
  pending: { of: text },
  advance: { of: number },
  shift_wall: { of: number },
  settle: { of: yes },
  hold: { of: text },
  release: { of: text },
  hold_data: { of: oneOrMore },
  release_data: { of: oneOrMore },
  counts: { of: map(whole) },
  data_counts: { of: map(whole) },
  revalidate_path: { of: oneOrMore, beside: { type: text }, expect: { matched: flag, ...error } },
  revalidate_tag: { of: oneOrMore, beside: { soft: flag, expire: lifetime }, expect: error },
  remove: { of: oneOrMore, expect: error },
  prerender: {
    of: yes,
    expect: { rendered: whole, skipped: whole, failed: whole, failed_paths: list(text), ...error },
  },
  begin: { of: text },
  put: {
    of: text,
    beside: { page: plain, begun: text, variant: map(text) },
    expect: { stored: flag, ...error },
  },
  reopen: { of: yes, beside: { deployment: text } },
  inspect: {
    of: text,
    beside: { variant: map(text) },
    expect: {
      state: text,
      tags: list(text),
      revalidate: lifetime,
      expire: lifetime,
      body: text,
      status: number,
      age: number,
      ...error,
    },
  },
  add_route: { of: route, expect: error },
};

/** Which action a step is. */
export function actionOf(step) {
  return Object.keys(ACTIONS).find((action) => Object.hasOwn(step, action));
}

function steps(where, value) {
  list(() => {})(where, value);
  const started = new Map();
  value.forEach((step, i) => {
    const at = `${where}[${i}]`;
    if (!isObject(step)) fail(at, 'an object', step);
    const action = actionOf(step);
    if (action === undefined) throw new FormatError(`${at} has no known action: ${JSON.stringify(step)}`);
    // A join may expect what the started step may.
    const known = ACTIONS[action === 'join' ? (started.get(step.join) ?? 'join') : action];
    const { beside } = ACTIONS[action];
    const keys = { ...beside, [action]: ACTIONS[action].of };
    if (known.expect) keys.expect = shape(known.expect);
    shape(keys)(at, step);
    for (const key of action === 'put' ? ['page', 'begun'] : []) {
      if (!Object.hasOwn(step, key)) throw new FormatError(`${at} has no ${key}`);
    }
    if (step.start !== undefined) {
      if (step.expect) throw new FormatError(`${at} is answered by its join: it has no expect of its own`);
      started.set(step.start, action);
    }
  });
}

const scenario = shape({
  name: text,
  spec: text,
  cache,
  routes: list(route),
  renders: map(list(render)),
  data: map(list(load)),
  steps,
});

/** Throws a `FormatError` if a scenario breaks the format. */
export function checkFormat(value) {
  scenario('the scenario', value);
  for (const key of ['name', 'routes', 'steps']) {
    if (!Object.hasOwn(value, key)) throw new FormatError(`the scenario has no ${key}`);
  }
}
