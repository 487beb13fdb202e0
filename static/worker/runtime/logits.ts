/** The logits of the next token, wherever they lie. */

/** The largest logits of a vocabulary, and what is needed to weigh them against the rest. */
export interface Head {
  /** Ids by falling logit; equal ones by rising id. */
  readonly ids: readonly number[];
  readonly logits: readonly number[];
  /** Sum over the whole vocabulary of e^((logit - the largest) / temperature). */
  readonly total: number;
}

/** Most ids a head can have. */
export const HEAD_IDS = 64;

/** Good until the session reads again. */
export interface Logits {
  /** Number of logits (V). */
  readonly size: number;
  /** All of them, unnormalised (V); not to be modified. Rejects with a `device` error. */
  all(): Promise<Float32Array>;
  /**
   * The `count` (at most HEAD_IDS) largest, without moving the vocabulary; null where that is no quicker.
   * Rejects with a `device` error, and with RangeError when a logit is NaN or +Infinity, or none finite.
   */
  head(count: number, temperature: number): Promise<Head | null>;
}

/** Logits that lie in memory already. */
export function logitsInMemory(values: Float32Array): Logits {
  return {
    size: values.length,
    all: () => Promise.resolve(values),
    head: () => Promise.resolve(null),
  };
}
