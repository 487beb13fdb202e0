/** Options of an answer that are numbers. */
export type NumberOption =
  | 'temperature'
  | 'topP'
  | 'topK'
  | 'minP'
  | 'repetitionPenalty'
  | 'presencePenalty'
  | 'frequencyPenalty'
  | 'seed'
  | 'maxTokens';

interface Range {
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
}

/** What the server takes; the worker takes the same. */
export const RANGES: Readonly<Record<NumberOption, Range>> = {
  temperature: { min: 0, max: 2, whole: false },
  topP: { min: 0.01, max: 1, whole: false },
  topK: { min: 0, max: 1_000_000, whole: true },
  minP: { min: 0, max: 1, whole: false },
  repetitionPenalty: { min: 0.1, max: 10, whole: false },
  presencePenalty: { min: -2, max: 2, whole: false },
  frequencyPenalty: { min: -2, max: 2, whole: false },
  seed: { min: 0, max: 2 ** 31 - 1, whole: true },
  maxTokens: { min: 1, max: 1_000_000, whole: true },
};

export const MAX_STOPS = 16;
export const MAX_STOP_CHARS = 1024;
