/**
 * Hits without a call of the addon: the answers of hits are kept here by their path, and given again as long as the words that
 * the core keeps up to date say that nothing has happened to them.
 */
import { native, type NativeAnswer, type NativeCache, type NativeHits, type NativeSeen, type NativeTime } from './native.js';
import { Answer } from './page.js';

/** Answers that are kept; beyond, the oldest goes. */
const MAX_KEPT = 1 << 17;
/** Pages that are marked as used by one call. */
const MARKS = 256;
/** Milliseconds around the turn of a second in which the core is asked, which counts exactly. */
const ROUNDED = 2;

/** Where the words are, in integers and in doubles. */
const GENERATION = 0;
const LET_GO = 1;
const NOW = 1;
const HITS = 2;

interface Entry {
  answer: Answer;
  /** The generation at which it was found to answer. */
  generation: number;
  /** As long as `now` is below, the page may be given; see `Seen` of the core. */
  fresh: number;
  ageTurns: number;
  leftTurns: number;
  readonly path: string;
  readonly number: number;
}

/** The hits of a cache object. */
export class Hits {
  readonly #native: NativeHits;
  readonly #integers: Int32Array;
  readonly #doubles: Float64Array;
  readonly #answers = new Map<string, Answer>();
  /** By the number of its page. */
  readonly #byNumber: (Entry | undefined)[] = [];
  readonly #marks = new Int32Array(MARKS);
  #marked = 0;

  constructor(cache: NativeCache) {
    this.#native = new native.NativeHits(cache);
    const { buffer, byteOffset, byteLength } = this.#native.words();
    this.#integers = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.#doubles = new Float64Array(buffer, byteOffset, byteLength / 8);
  }

  /** The answer to a plain request, if it is a hit that is known here. */
  get(path: string): Answer | undefined {
    const answer = this.#answers.get(path);
    if (answer === undefined) return undefined;
    const doubles = this.#doubles;
    if (Answer.holds(answer, this.#integers[GENERATION]!, doubles[NOW]!)) {
      doubles[HITS]! += 1;
      return answer;
    }
    return this.#again(Answer.kept<Entry>(answer));
  }

  /** Keeps what the cache has answered to a plain request, if it is a hit. */
  keep(path: string, there: NativeAnswer, answer: Answer): void {
    if (this.#integers[LET_GO] !== 0) this.#letGo();
    if (answer.cache !== 'hit') return;
    const number = this.#native.keep(path, there);
    if (number === null) return;
    const old = this.#answers.get(path);
    if (old !== undefined) this.#drop(Answer.kept(old));
    else if (this.#answers.size >= MAX_KEPT) {
      for (const oldest of this.#answers.values()) {
        this.#drop(Answer.kept(oldest));
        break;
      }
    }
    // The core says at the next hit for how long.
    const entry = { answer, generation: 0, fresh: 0, ageTurns: 0, leftTurns: 0, path, number };
    Answer.keep(answer, entry);
    this.#answers.set(path, answer);
    this.#byNumber[number] = entry;
  }

  /** Lets all go. */
  clear(): void {
    for (const answer of [...this.#answers.values()]) this.#drop(Answer.kept(answer));
  }

  #again(entry: Entry): Answer | undefined {
    // Before the core looks: what happens from here on is another generation.
    const generation = this.#integers[GENERATION]!;
    const now = this.#doubles[NOW]!;
    if (generation === entry.generation && now < entry.fresh) {
      const ageTurns = next(entry.ageTurns, now);
      const leftTurns = next(entry.leftTurns, now);
      if (ageTurns !== undefined && leftTurns !== undefined) {
        this.#doubles[HITS]! += 1;
        this.#mark(entry.number);
        return this.#show(entry, { secs: Math.floor(now / 1000), nanos: (now % 1000) * 1e6 }, ageTurns, leftTurns);
      }
    }
    if (this.#integers[LET_GO] !== 0) this.#letGo();
    const seen = this.#seen(entry);
    if (seen === null) {
      this.#drop(entry);
      return undefined;
    }
    entry.generation = generation;
    entry.fresh = seen.fresh;
    return this.#show(entry, seen.given, seen.ageTurns, seen.leftTurns);
  }

  /** The answer as it is now, and until when. */
  #show(entry: Entry, given: NativeTime, ageTurns: number, leftTurns: number): Answer {
    entry.ageTurns = ageTurns;
    entry.leftTurns = leftTurns;
    entry.answer = entry.answer.at(given);
    Answer.hold(entry.answer, entry.generation, Math.min(entry.fresh, ageTurns, leftTurns));
    this.#answers.set(entry.path, entry.answer);
    return entry.answer;
  }

  /** What a fault of the addon is, the full way tells. */
  #seen(entry: Entry): NativeSeen | null {
    try {
      return this.#native.again(entry.number);
    } catch {
      return null;
    }
  }

  /** Says now and then what was used, so that it is not evicted. */
  #mark(number: number): void {
    this.#marks[this.#marked++] = number;
    if (this.#marked === MARKS) {
      this.#marked = 0;
      this.#native.mark(this.#marks);
    }
  }

  #drop(entry: Entry): void {
    if (this.#byNumber[entry.number] === entry) {
      this.#byNumber[entry.number] = undefined;
      this.#native.release(entry.number);
    }
    this.#answers.delete(entry.path);
  }

  /** The cache needs the memory of pages that it has let go. */
  #letGo(): void {
    for (const number of this.#native.letGo()) {
      const entry = this.#byNumber[number];
      this.#byNumber[number] = undefined;
      if (entry !== undefined && this.#answers.get(entry.path) === entry.answer) this.#answers.delete(entry.path);
    }
  }
}

/** The next turn after `now`, of turns a second apart; undefined so near to one that the core must say. */
function next(turns: number, now: number): number | undefined {
  if (now < turns) return turns;
  const since = (now - turns) % 1000;
  return since < ROUNDED || since > 1000 - ROUNDED ? undefined : now - since + 1000;
}
