import type { Sampling } from '../../shared/manifest';

/**
 * Tokens e^30 times less likely than the best are never drawn. Even 200 000 of them together weigh
 * 2e-8, and leaving them out saves sorting the vocabulary for every token.
 */
const NEGLIGIBLE = 30;

/** Chooses token ids; holds the state of its random numbers. */
export class Sampler {
  readonly #sampling: Sampling;
  readonly #random: () => number;

  constructor(sampling: Sampling, seed: number) {
    this.#sampling = sampling;
    this.#random = mulberry32(seed);
  }

  /**
   * Draw one token id.
   * logits: unnormalised, length V; not modified.
   * Temperature 0 means argmax. -Infinity bars a token; throws RangeError for NaN, for +Infinity,
   * and if no logit is finite, because then the device has computed nonsense.
   */
  draw(logits: Float32Array): number {
    const best = argmax(logits);
    const { temperature, topK, topP } = this.#sampling;
    if (temperature === 0 || topK === 1) return best;
    const peak = logits[best]!;
    const candidates = likeliest(logits, peak - NEGLIGIBLE * temperature, topK);
    const weights = candidates.map((id) => Math.exp((logits[id]! - peak) / temperature));
    const kept = nucleus(weights, topP);
    return candidates[pick(weights, kept, this.#random())]!;
  }
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

/** Ids by falling logit, from `floor` upwards, at most `topK` of them (0: all). */
function likeliest(logits: Float32Array, floor: number, topK: number): readonly number[] {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) if (logits[id]! >= floor) ids.push(id);
  ids.sort((a, b) => logits[b]! - logits[a]!);
  return topK > 0 ? ids.slice(0, topK) : ids;
}

/** How many of the falling weights it takes to reach the share topP; at least one. */
function nucleus(weights: readonly number[], topP: number): number {
  const goal = topP * sum(weights);
  let reached = 0;
  for (let i = 0; i < weights.length; i++) {
    reached += weights[i]!;
    if (reached >= goal) return i + 1;
  }
  return weights.length;
}

/** Index among the first `kept` weights, drawn by a number in [0, 1). */
function pick(weights: readonly number[], kept: number, random: number): number {
  let left = random * sum(weights.slice(0, kept));
  for (let i = 0; i < kept; i++) {
    left -= weights[i]!;
    if (left < 0) return i;
  }
  return kept - 1;
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
