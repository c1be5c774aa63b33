// Runs one scenario against a cache of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cache, ManualClock } from 'libisr';
import { Differences, substitute } from './expect.mjs';
import { actionOf } from './format.mjs';
import { dataName, plainPage, Site } from './site.mjs';

/** Milliseconds after which a step that waits has failed. */
const LIMIT = 20_000;
const START = 1_700_000_000;

/** A step that did not show what it must. */
export class StepError extends Error {
  constructor(index, total, step, differences) {
    super(`step ${index + 1} of ${total}: ${JSON.stringify(step)}`);
    this.differences = differences;
  }
}

/**
 * Runs a scenario that has the right form; throws a `StepError` at the first step that fails. `withDirectory` gives it a
 * directory even if it does not persist.
 */
export async function runScenario(scenario, withDirectory) {
  const run = new Run(scenario, withDirectory);
  try {
    run.open();
    for (const route of scenario.routes) run.addRoute(route);
    for (const [index, step] of scenario.steps.entries()) {
      const differences = new Differences(run.stored);
      try {
        await run.step(step, differences);
      } catch (error) {
        differences.list.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
      }
      if (differences.list.length > 0) throw new StepError(index, scenario.steps.length, step, differences.list);
    }
  } catch (error) {
    // What went wrong first is what counts.
    await run.end().catch(() => {});
    throw error;
  }
  await run.end();
}

function cacheOptions({ persist: _, stale_if_error: staleIfError, ...given }) {
  // What fails in the background is for the scenario to look at, not for stderr.
  const options = { backoffJitter: 0, maxQueue: 1000, threads: 8, onFailure() {} };
  for (const [name, value] of Object.entries(given)) {
    options[name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())] = value;
  }
  if (staleIfError !== undefined) options.staleIfError = staleIfError ?? false;
  return options;
}

/** Resolves in the next turn of the event loop, which has run the callbacks that were due by then. */
const turn = () => new Promise((go) => setImmediate(go));

class Run {
  stored = new Map();
  #clock = new ManualClock(START);
  #options;
  #directory;
  /** What was told of the directory. No scenario makes trouble. */
  #troubles = [];
  #site;
  #cache;
  /** Those that were added, for a reopen. */
  #routes = [];
  #threads;
  /** By name: the step, what it is answered with, and whether it is answered. */
  #started = new Map();
  /** The epochs of `begin`. */
  #begun = new Map();

  constructor(scenario, withDirectory) {
    this.#options = cacheOptions(scenario.cache ?? {});
    this.#threads = this.#options.threads;
    this.#site = new Site(scenario);
    if (withDirectory || scenario.cache?.persist) this.#directory = mkdtempSync(join(tmpdir(), 'isr-scenario-'));
  }

  open() {
    this.#cache = new Cache({
      ...this.#options,
      clock: this.#clock,
      directory: this.#directory,
      onTrouble: (error) => this.#troubles.push(error),
    });
  }

  addRoute(route) {
    const { pattern, dynamic_params, static_params, max_concurrent, early_refresh, timeout, ...same } = route;
    const options = { ...same, timeout: timeout ?? false };
    if (dynamic_params !== undefined) options.dynamicParams = dynamic_params;
    if (max_concurrent !== undefined) options.maxConcurrent = max_concurrent;
    if (early_refresh !== undefined) options.earlyRefresh = early_refresh;
    if (static_params !== undefined) options.staticParams = static_params;
    this.#cache.page(pattern, options, this.#site.render);
    this.#routes.push(route);
  }

  async step(step, differences) {
    const action = actionOf(step);
    if (step.start !== undefined) return this.#start(step, this.#call(action, step));
    if (CALLS.has(action)) return this.#compare(action, step, await limited(this.#call(action, step)), differences);
    switch (action) {
      case 'join': {
        const started = this.#named(step.join);
        return this.#compare(
          actionOf(started.step),
          { ...started.step, expect: step.expect },
          await limited(started.outcome),
          differences,
        );
      }
      case 'pending':
        if (this.#named(step.pending).answered) differences.list.push(`${step.pending} has been answered`);
        return undefined;
      case 'advance':
        return this.#clock.advance(step.advance);
      case 'shift_wall':
        return this.#clock.setWall(this.#clock.now() + step.shift_wall);
      case 'begin':
        return void this.#begun.set(step.begin, this.#cache.started());
      case 'settle':
        return this.#quiet();
      case 'hold':
        return this.#site.holds.hold(step.hold);
      case 'release':
        return this.#site.holds.release(step.release);
      case 'hold_data':
        return this.#site.dataHolds.hold(dataName(step.hold_data));
      case 'release_data':
        return this.#site.dataHolds.release(dataName(step.release_data));
      case 'counts':
        return this.#counts(step.counts, this.#site.renders, differences);
      case 'data_counts':
        return this.#counts(step.data_counts, this.#site.loads, differences);
      case 'reopen':
        return this.#reopen(step.deployment);
      default:
        throw new Error(`no step is called ${action}`);
    }
  }

  async #reopen(deployment) {
    await this.#close();
    if (deployment !== undefined) this.#options.deployment = deployment;
    this.open();
    for (const route of this.#routes.splice(0)) this.addRoute(route);
  }

  async #close() {
    const ended = await this.#cache.close({ timeout: LIMIT / 1000 });
    if (!ended) throw new Error(`the cache did not close: ${JSON.stringify(this.#cache.activity())}`);
  }

  /** The outcome of a call: what it gives, or its error. Begins at once. */
  #call(action, step) {
    const outcome = async () => {
      try {
        return { value: await this.#ask(action, step) };
      } catch (error) {
        return { error };
      }
    };
    return outcome();
  }

  #ask(action, step) {
    const cache = this.#cache;
    switch (action) {
      case 'get':
        return cache.get(step.get, { variant: step.variant, draft: step.draft, prefetch: step.prefetch });
      case 'regenerate':
        return cache.regenerate(step.regenerate, { onlyGenerated: step.only_generated });
      case 'data_get':
        return cache.dataAnswer(step.data_get, this.#site.loader(step.data_get), {
          tags: step.tags,
          revalidate: step.revalidate,
        });
      case 'revalidate_path':
        return cache.revalidatePath(step.revalidate_path, step.type);
      case 'revalidate_tag':
        return cache.revalidateTag(step.revalidate_tag, { soft: step.soft, expire: step.expire });
      case 'remove':
        return cache.remove(step.remove);
      case 'put':
        if (!this.#begun.has(step.begun)) throw new Error(`${JSON.stringify(step.begun)} was not begun`);
        return cache.put(step.put, plainPage(step.page), { variant: step.variant, started: this.#begun.get(step.begun) });
      case 'prerender':
        return cache.prerender();
      case 'inspect':
        return cache.peek(step.inspect, { variant: step.variant });
      default:
        return this.addRoute(step.add_route);
    }
  }

  #compare(action, step, { value, error }, differences) {
    const expect = step.expect ?? {};
    if (!differences.outcome(expect, error)) return;
    switch (action) {
      case 'get':
      case 'regenerate':
        return this.#answer(step, expect, value, differences);
      case 'data_get':
        return differences.all(expect, value);
      case 'revalidate_path':
        return differences.all(expect, { matched: value });
      case 'put':
        return differences.all(expect, { stored: value });
      case 'prerender':
        return differences.all(
          expect,
          { ...value, failed: value.failed.length },
          {
            failed_paths: (paths) =>
              differences.anyOrder(
                'failed_paths',
                paths,
                value.failed.map(({ path }) => path),
              ),
          },
        );
      case 'inspect': {
        const { state, age, page } = value;
        const got = {
          state,
          age,
          status: page?.status,
          body: page?.body.toString(),
          revalidate: page?.revalidate,
          expire: page?.expire,
        };
        return differences.all(expect, got, { tags: (tags) => differences.anyOrder('tags', tags, page?.tags) });
      }
    }
  }

  #answer(step, expect, answer, differences) {
    if (answer === undefined) return differences.all(expect, { rendered: false });
    const request = new Map(
      Object.entries(step.headers ?? {}).map(([name, value]) => [name.toLowerCase(), substitute(value, this.stored)]),
    );
    const head = answer.head({
      method: step.method,
      ifNoneMatch: request.get('if-none-match'),
      acceptEncoding: request.get('accept-encoding'),
    });
    const got = {
      rendered: true,
      cache: answer.cache,
      status: head.status,
      body: head.body.toString(),
      body_base64: head.body.toString('base64'),
    };
    differences.all(expect, got, { headers: (headers) => differences.headers(headers, head.headers) });
  }

  #counts(expected, script, differences) {
    for (const [name, count] of Object.entries(expected)) differences.same(name, count, script.count(name));
  }

  #named(name) {
    const started = this.#started.get(name);
    if (!started) throw new Error(`nothing was started as ${JSON.stringify(name)}`);
    return started;
  }

  /** Goes on when the call has been answered, or when all that it waits for is held. */
  async #start(step, outcome) {
    const started = { step, outcome, answered: false };
    this.#started.set(step.start, started);
    outcome.then(() => (started.answered = true));
    await this.#quiet(() => started.answered);
  }

  /** Waits until nothing goes on, but what is held and what waits for that; or until `enough`. */
  async #quiet(enough = () => false) {
    const deadline = performance.now() + LIMIT;
    let before;
    for (;;) {
      await turn();
      if (enough()) return;
      const now = this.#cache.activity();
      const taken = this.#site.rendering() >= this.#threads;
      const quiet = now.running === now.waiting + this.#site.held() && (now.queued === 0 || taken);
      if (quiet && before === now.version) return;
      before = quiet ? now.version : undefined;
      if (performance.now() > deadline) {
        throw new Error(`not quiet after ${LIMIT / 1000} s: ${JSON.stringify(now)}, ${this.#site.held()} held`);
      }
    }
  }

  async end() {
    this.#site.holds.releaseAll();
    this.#site.dataHolds.releaseAll();
    try {
      if (this.#cache) await this.#close();
      if (this.#troubles.length > 0) throw new AggregateError(this.#troubles, this.#troubles.join('\n'));
    } finally {
      if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
    }
  }
}

const CALLS = new Set([
  'get',
  'regenerate',
  'data_get',
  'revalidate_path',
  'revalidate_tag',
  'remove',
  'put',
  'prerender',
  'inspect',
  'add_route',
]);

/** An outcome that does not come is a failure, not a hang. */
async function limited(outcome) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer after ${LIMIT / 1000} s`)), LIMIT);
  });
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}
