/**
 * Hits without a call of the addon: the answers of hits are kept here by their path, and given again as long as the words that
 * the core keeps up to date say that nothing has happened to them.
 */
import { native, type NativeAnswer, type NativeCache, type NativeHits, type NativeTime } from './native.js';
import { Answer } from './page.js';

/** Answers that are kept; beyond, the oldest goes. */
const MAX_KEPT = 1 << 17;
/** Pages that are marked as used by one call. */
const MARKS = 256;
/** Milliseconds around the turn of a second in which the core is asked, which counts exactly. */
const ROUNDED = 2;

/**
 * A Map of V8 looks through a bucket from what was added last. What is asked for most was asked for first, so it would be found
 * last: once, as an answer is made anew after a second, one in so many is added again.
 */
const MOVE_ONE_IN = 4;
/** In a larger Map, adding anew costs more than is gained: most of the time goes to memory. */
const MOVE_UP_TO = 1 << 14;

/** Where the words are, in integers and in doubles. Enums become numbers in the code, constants would be looked up. */
const enum Integer {
  Generation = 0,
  LetGo = 1,
}
const enum Double {
  Now = 1,
  Hits = 2,
}

/** Where it is in what the core says of a page. */
const FRESH = 0;
const AGE_TURNS = 1;
const LEFT_TURNS = 2;
const SECS = 3;
const NANOS = 4;

/** Times are kept as milliseconds since about now, small numbers: those of another century are as right, and slower. */
const EPOCH = Date.now();
/** Twelve days. What is good for longer is asked for again after that. */
const FAR = 2 ** 30;

/** A path and its answer. A hit reads the first three, and nothing else. */
class Entry {
  /** The generation at which it was found to answer. */
  generation = 0;
  /** As long as `now` is below, the answer may be given as it is. */
  until = 0;
  answer: Answer;
  /** As long as `now` is below, the page may be given; see `Seen` of the core. */
  fresh = 0;
  /** From here on up to `ageTurns` and `leftTurns`, it is the answer: its age and what its head shows do not change. */
  since = 0;
  ageTurns = 0;
  leftTurns = 0;
  isMoved = false;
  readonly path: string;
  readonly number: number;

  constructor(answer: Answer, path: string, number: number) {
    this.answer = answer;
    this.path = path;
    this.number = number;
  }
}

/** The hits of a cache object. */
export class Hits {
  readonly #native: NativeHits;
  readonly #integers: Int32Array;
  readonly #doubles: Float64Array;
  readonly #entries = new Map<string, Entry>();
  /** What the core has said last. */
  readonly #seen: Float64Array;
  /** By the number of its page. */
  readonly #byNumber: (Entry | undefined)[] = [];
  readonly #marks = new Int32Array(MARKS);
  #marked = 0;
  #turns = 0;
  /** When answers were last made anew: one object for all that are made in the same milliseconds. */
  #given: NativeTime = { secs: 0, nanos: 0 };
  #givenAt = Number.NaN;

  constructor(cache: NativeCache) {
    this.#native = new native.NativeHits(cache);
    const { buffer, byteOffset, byteLength } = this.#native.words();
    this.#integers = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.#doubles = new Float64Array(buffer, byteOffset, byteLength / 8);
    const seen = this.#native.seen();
    this.#seen = new Float64Array(seen.buffer, seen.byteOffset, seen.byteLength / 8);
  }

  /** The answer to a plain request, if it is a hit that is known here. */
  get(path: string): Answer | undefined {
    const entry = this.#entries.get(path);
    if (entry === undefined) return undefined;
    const doubles = this.#doubles;
    if (entry.generation === this.#integers[Integer.Generation] && doubles[Double.Now]! - EPOCH < entry.until) {
      doubles[Double.Hits]! += 1;
      return entry.answer;
    }
    return this.#again(entry);
  }

  /** Keeps what the cache has answered to a plain request, if it is a hit. */
  keep(path: string, there: NativeAnswer, answer: Answer): void {
    if (this.#integers[Integer.LetGo] !== 0) this.#letGo();
    if (answer.cache !== 'hit') return;
    const number = this.#native.keep(path, there);
    if (number === null) return;
    const old = this.#entries.get(path);
    if (old !== undefined) this.#drop(old);
    else if (this.#entries.size >= MAX_KEPT) {
      for (const oldest of this.#entries.values()) {
        this.#drop(oldest);
        break;
      }
    }
    // The core says at the next hit for how long.
    const entry = new Entry(answer, path, number);
    this.#entries.set(path, entry);
    this.#byNumber[number] = entry;
  }

  /** Lets all go. */
  clear(): void {
    for (const entry of [...this.#entries.values()]) this.#drop(entry);
  }

  #again(entry: Entry): Answer | undefined {
    // Before the core looks: what happens from here on is another generation.
    const generation = this.#integers[Integer.Generation]!;
    const shown = this.#doubles[Double.Now]!;
    const now = shown - EPOCH;
    if (generation === entry.generation && now < entry.fresh) {
      const ageTurns = next(entry.ageTurns, now);
      const leftTurns = next(entry.leftTurns, now);
      if (ageTurns !== AT_A_TURN && leftTurns !== AT_A_TURN) {
        this.#doubles[Double.Hits]! += 1;
        this.#mark(entry.number);
        if (shown !== this.#givenAt) {
          this.#givenAt = shown;
          this.#given = { secs: Math.floor(shown / 1000), nanos: (shown % 1000) * 1e6 };
        }
        if (!entry.isMoved && this.#entries.size <= MOVE_UP_TO && ++this.#turns % MOVE_ONE_IN === 0) this.#move(entry);
        entry.since = small(now);
        return show(entry, entry.answer.at(this.#given), ageTurns, leftTurns);
      }
    }
    if (this.#integers[Integer.LetGo] !== 0) this.#letGo();
    if (!this.#ask(entry.number)) {
      this.#drop(entry);
      return undefined;
    }
    const seen = this.#seen;
    entry.generation = generation;
    const secs = seen[SECS]!;
    const nanos = seen[NANOS]!;
    const at = secs * 1000 - EPOCH + nanos / 1e6;
    entry.fresh = small(Math.min(seen[FRESH]! - EPOCH, Math.ceil(at) + FAR));
    // The core has said until when it is the answer.
    const isSame = entry.since <= at && at < entry.ageTurns && at < entry.leftTurns;
    const answer = isSame ? entry.answer : entry.answer.at({ secs, nanos });
    if (!isSame) entry.since = small(Math.ceil(at));
    return show(entry, answer, seen[AGE_TURNS]! - EPOCH, seen[LEFT_TURNS]! - EPOCH);
  }

  /** What a fault of the addon is, the full way tells. */
  #ask(number: number): boolean {
    try {
      return this.#native.again(number);
    } catch {
      return false;
    }
  }

  /** To the end of the Map, which is the beginning of its bucket. */
  #move(entry: Entry): void {
    entry.isMoved = true;
    this.#entries.delete(entry.path);
    this.#entries.set(entry.path, entry);
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
    this.#entries.delete(entry.path);
  }

  /** The cache needs the memory of pages that it has let go. */
  #letGo(): void {
    for (const number of this.#native.letGo()) {
      const entry = this.#byNumber[number];
      this.#byNumber[number] = undefined;
      if (entry !== undefined && this.#entries.get(entry.path) === entry) this.#entries.delete(entry.path);
    }
  }
}

/** The answer as it is now, and until when. */
function show(entry: Entry, answer: Answer, ageTurns: number, leftTurns: number): Answer {
  entry.answer = answer;
  entry.ageTurns = small(ageTurns);
  entry.leftTurns = small(leftTurns);
  entry.until = small(Math.min(entry.fresh, ageTurns, leftTurns));
  return answer;
}

/** The same number; one that could be kept in the object itself is, also where it comes from doubles. */
function small(number: number): number {
  const integer = number | 0;
  return integer === number ? integer : number;
}

/** So near to a turn that the core must say. */
const AT_A_TURN = Number.NEGATIVE_INFINITY;

/** The next turn after `now`, of turns a second apart; or {@link AT_A_TURN}. */
function next(turns: number, now: number): number {
  if (now < turns) return turns;
  const since = (now - turns) % 1000;
  return since < ROUNDED || since > 1000 - ROUNDED ? AT_A_TURN : now - since + 1000;
}
