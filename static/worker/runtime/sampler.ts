/**
 * A token from the logits: what changes the logits first, then the choice.
 *
 *     logits → repetition penalty → presence and frequency penalty
 *            → temperature 0: the largest
 *            → else: ÷ temperature → top-k → top-p → min-p → draw among what is left
 *
 * The server's numpy sampler does the same in the same order; tests/vectors/sampler.json holds both to
 * it. Their random numbers differ, so a seed repeats an answer on one of them, not across.
 */
import type { Sampling } from '../../shared/manifest';
import { isAllowed } from '../grammar/guide';
import type { Allowed } from '../grammar/guide';
import { HEAD_IDS } from './logits';
import type { Head, Logits } from './logits';

export interface SamplingRules extends Sampling {
  /** Tokens less likely than this part of the likeliest are out; 0 is off. */
  readonly minP: number;
  /** Logits of ids in prompt or answer are divided by it, multiplied below 0; 1 is off. */
  readonly repetitionPenalty: number;
  /** Taken from the logits of ids in the answer. */
  readonly presencePenalty: number;
  /** The same, once for each time. */
  readonly frequencyPenalty: number;
}

export const NO_RULES: Omit<SamplingRules, keyof Sampling> = {
  ...{ minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 },
};

/** Ids that may be drawn, and what each weighs. */
export interface Candidates {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

/**
 * Tokens e^30 times less likely than the best are never drawn. Even 200 000 of them together weigh
 * 2e-8, and leaving them out saves looking at the whole vocabulary for every token.
 */
const NEGLIGIBLE = 30;

/** How far below the likeliest the filters look until they have enough; sorting all would take longest. */
const DEPTHS = [6, 12, 24, NEGLIGIBLE];

/** Chooses the ids of one answer; holds the state of its random numbers and what was chosen. */
export class Sampler {
  readonly #rules: SamplingRules;
  readonly #random: () => number;
  readonly #seen: Set<number>;
  readonly #counts = new Map<number, number>();

  constructor(rules: SamplingRules, seed: number, promptIds: Iterable<number> = []) {
    this.#rules = rules;
    this.#random = mulberry32(seed);
    this.#seen = new Set(rules.repetitionPenalty === 1 ? [] : promptIds);
  }

  /**
   * Choose one token id; penalties count it from the next one.
   * logits: unnormalised, length V; not modified.
   * Temperature 0 means argmax. -Infinity bars a token; throws RangeError for NaN, for +Infinity,
   * and if no logit is finite, because then the device has computed nonsense.
   */
  draw(logits: Float32Array): number {
    const id = this.#choose(this.#adjusted(logits));
    this.push(id);
    return id;
  }

  /**
   * `draw` of logits wherever they lie; the vocabulary is moved only where its head does not decide.
   * Rejects as `draw` throws, and with what the logits reject with.
   */
  async choose(logits: Logits): Promise<number> {
    const chosen = await this.#chooseFromHead(logits);
    if (chosen === null) return this.draw(await logits.all());
    this.push(chosen);
    return chosen;
  }

  /**
   * The same among the ids that are allowed, as if the others were not there. The vocabulary is moved for
   * it, unless there is no choice, or the largest logits decide.
   */
  async chooseAllowed(logits: Logits, allowed: Allowed): Promise<number> {
    const chosen = allowed.count === 1 ? allowed.first : await this.#bestAllowed(logits, allowed);
    if (chosen === null) return this.draw(masked(await logits.all(), allowed));
    this.push(chosen);
    return chosen;
  }

  /** The largest of the allowed, where it is in the head and decides. */
  async #bestAllowed(logits: Logits, allowed: Allowed): Promise<number | null> {
    const { temperature, topK } = this.#rules;
    if (this.#adjusts || (temperature !== 0 && topK !== 1)) return null;
    const head = await logits.head(HEAD_IDS, 1);
    return head?.ids.find((id) => isAllowed(allowed, id)) ?? null;
  }

  /** What `draw` would choose among at a temperature above 0; throws as it does. */
  candidates(logits: Float32Array): Candidates {
    const adjusted = this.#adjusted(logits);
    return filtered(adjusted, adjusted[argmax(adjusted)]!, this.#rules);
  }

  /** The choice, where the largest logits are enough for one; null where they are not. */
  async #chooseFromHead(logits: Logits): Promise<number | null> {
    const { temperature, topK, topP, minP } = this.#rules;
    if (this.#adjusts) return null;
    if (temperature === 0 || topK === 1) return (await logits.head(1, 1))?.ids[0] ?? null;
    if (topK >= HEAD_IDS || (topK === 0 && topP >= 1 && minP === 0)) return null;
    const head = await logits.head(HEAD_IDS, temperature);
    const left = head ? filteredHead(head, logits.size, this.#rules) : null;
    return left ? left.ids[pick(left.weights, this.#random())]! : null;
  }

  #choose(logits: Float32Array): number {
    const best = argmax(logits);
    const { temperature, topK } = this.#rules;
    if (temperature === 0 || topK === 1) return best;
    const { ids, weights } = filtered(logits, logits[best]!, this.#rules);
    return ids[pick(weights, this.#random())]!;
  }

  /** An id was chosen elsewhere: its random number counts as drawn. */
  skip(): void {
    const { temperature, topK } = this.#rules;
    if (temperature !== 0 && topK !== 1) this.#random();
  }

  /** Count an id as chosen, for the penalties. */
  push(id: number): void {
    const { repetitionPenalty } = this.#rules;
    if (this.#adjusts) this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    if (repetitionPenalty !== 1) this.#seen.add(id);
  }

  get #adjusts(): boolean {
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#rules;
    return repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
  }

  /** The logits after penalties: a copy, or the same array where there are none. */
  #adjusted(logits: Float32Array): Float32Array {
    if (!this.#adjusts) return logits;
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#rules;
    const adjusted = logits.slice();
    for (const id of this.#seen) {
      const logit = adjusted[id]!;
      adjusted[id] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
    }
    for (const [id, count] of this.#counts) {
      adjusted[id] = adjusted[id]! - presencePenalty - frequencyPenalty * count;
    }
    return adjusted;
  }
}

/** A copy in which what is not allowed is barred. */
function masked(logits: Float32Array, allowed: Allowed): Float32Array {
  return logits.map((logit, id) => (isAllowed(allowed, id) ? logit : -Infinity));
}

/** Index of the largest logit, the first of equals. Throws as `Sampler.draw` does. */
export function argmax(logits: Float32Array): number {
  let best = -1;
  let peak = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (logit > peak) {
      peak = logit;
      best = id;
    } else if (Number.isNaN(logit)) {
      throw new RangeError(`logit ${id} is not a number`);
    }
  }
  if (!Number.isFinite(peak))
    throw new RangeError(`no token can be chosen: the best logit is ${peak}`);
  return best;
}

/** What top-k, top-p and min-p leave. total: weight of all tokens, where the logits are not all. */
function filtered(
  logits: Float32Array,
  peak: number,
  rules: SamplingRules,
  total?: number,
): Candidates {
  const { topK, topP, minP } = rules;
  const scores = new Scores(logits, peak, rules.temperature);
  let ids: readonly number[] | null = topK > 0 ? scores.largest(topK) : null;
  if (topP < 1) {
    const goal = topP * (ids ? sum(scores.weights(ids)) : (total ?? scores.total()));
    ids = nucleus(scores, ids ?? scores.head((head) => sum(scores.weights(head)) >= goal), goal);
  }
  ids ??= scores.within(NEGLIGIBLE);
  if (minP > 0) ids = scores.falling(ids.filter((id) => scores.weight(id) >= minP));
  return { ids, weights: scores.weights(ids) };
}

/** What the filters leave, when that lies in the head; null when more than the head is needed. */
function filteredHead(head: Head, size: number, rules: SamplingRules): Candidates | null {
  const logits = Float32Array.from(head.logits);
  const whole = head.ids.length === size; // a vocabulary of a few ids
  const scores = new Scores(logits, logits[0]!, rules.temperature);
  const weakest = scores.weight(logits.length - 1);
  const { topK, topP, minP } = rules;
  const places = Array.from(logits.keys());
  const byTopK = topK > 0 && logits[topK - 1]! > logits[logits.length - 1]!; // no equals beyond the head
  const byTopP = topK === 0 && topP < 1 && sum(scores.weights(places)) >= topP * head.total;
  const byMinP = topK === 0 && topP >= 1 && weakest < minP;
  if (!whole && !byTopK && !byTopP && !byMinP) return null;
  const left = filtered(logits, logits[0]!, rules, head.total);
  return { ids: left.ids.map((place) => head.ids[place]!), weights: left.weights };
}

/** Logits at a temperature, seen from the largest: that one weighs 1. */
class Scores {
  readonly #logits: Float32Array;
  readonly #peak: number;
  readonly #temperature: number;

  constructor(logits: Float32Array, peak: number, temperature: number) {
    this.#logits = logits;
    this.#peak = peak;
    this.#temperature = Math.max(temperature, Number.MIN_VALUE); // close to 0 the largest is left alone
  }

  weight(id: number): number {
    return Math.exp((this.#logits[id]! - this.#peak) / this.#temperature);
  }

  weights(ids: readonly number[]): readonly number[] {
    return ids.map((id) => this.weight(id));
  }

  /** Weight of all tokens together, the negligible left out. */
  total(): number {
    const floor = this.#floor(NEGLIGIBLE);
    let total = 0;
    for (let id = 0; id < this.#logits.length; id++) {
      if (this.#logits[id]! >= floor) total += this.weight(id);
    }
    return total;
  }

  /** Ids at most `depth` below the largest, in units of e; by rising id. */
  within(depth: number): number[] {
    const floor = this.#floor(depth);
    const ids: number[] = [];
    for (let id = 0; id < this.#logits.length; id++) if (this.#logits[id]! >= floor) ids.push(id);
    return ids;
  }

  /** The ids within the first depth that has enough of them, largest first. */
  head(enough: (ids: readonly number[]) => boolean): readonly number[] {
    let ids: number[] = [];
    for (const depth of DEPTHS) {
      ids = this.within(depth);
      if (enough(ids)) break;
    }
    return this.falling(ids);
  }

  /** Largest first, equals in their order: the same seed draws the same from whole logits and from a head. */
  falling(ids: readonly number[]): readonly number[] {
    return ids.toSorted((a, b) => this.#logits[b]! - this.#logits[a]!);
  }

  /** The ids of the `count` largest, largest first; more where the last of them has its like. */
  largest(count: number): readonly number[] {
    const ids = this.head((head) => head.length >= count);
    const smallest = this.#logits[ids[Math.min(count, ids.length) - 1]!]!;
    return ids.filter((id) => this.#logits[id]! >= smallest);
  }

  #floor(depth: number): number {
    return this.#peak - depth * this.#temperature;
  }
}

/** The fewest of the falling ids whose weights reach the goal; at least one. */
function nucleus(scores: Scores, ids: readonly number[], goal: number): readonly number[] {
  let reached = 0;
  const last = scores.weights(ids).findIndex((weight) => (reached += weight) >= goal);
  return last === -1 ? ids : ids.slice(0, last + 1);
}

/** Index of a weight, drawn by a number in [0, 1). */
function pick(weights: readonly number[], random: number): number {
  let left = random * sum(weights);
  const drawn = weights.findIndex((weight) => (left -= weight) < 0);
  return drawn === -1 ? weights.length - 1 : drawn; // rounding
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** Tommy Ettinger's mulberry32: numbers in [0, 1) from a 32-bit seed. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
