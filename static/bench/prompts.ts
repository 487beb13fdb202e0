/** Conversations of a wanted length that begin like none before. */
import type { Message } from '../shared/protocol';
import type { OwnSubject } from './subject';

const WORDS = (
  'model browser server token answer question device memory cache prompt graph weight number ' +
  'machine page worker chunk file hash stream reader key value layer head length word line time'
).split(' ');
const SAMPLE_WORDS = 60;

export class Prompts {
  readonly #tokensPerWord: number;
  readonly #aroundTokens: number;
  #state: number;

  private constructor(tokensPerWord: number, aroundTokens: number, seed: number) {
    this.#tokensPerWord = tokensPerWord;
    this.#aroundTokens = aroundTokens;
    this.#state = seed;
  }

  /** Asks the subject how many tokens its words have. seed: the same seed asks the same. */
  static async of(subject: OwnSubject, seed: number): Promise<Prompts> {
    const trial = new Prompts(1, 0, seed);
    const short = await lengthOf(subject, trial.#words(SAMPLE_WORDS));
    const long = await lengthOf(subject, trial.#words(3 * SAMPLE_WORDS));
    const perWord = (long - short) / (2 * SAMPLE_WORDS);
    return new Prompts(perWord, short - SAMPLE_WORDS * perWord, seed + 1);
  }

  /** About so many tokens with all that is around them. */
  ofTokens(tokens: number): readonly Message[] {
    const words = Math.max(1, Math.round((tokens - this.#aroundTokens) / this.#tokensPerWord));
    return [{ role: 'user', content: this.#words(words) }];
  }

  #words(count: number): string {
    return Array.from({ length: count }, () => WORDS[this.#next() % WORDS.length]!).join(' ');
  }

  /** A linear congruential generator; its high bits are good enough for words. */
  #next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state >>> 8;
  }
}

async function lengthOf(subject: OwnSubject, content: string): Promise<number> {
  const question = { messages: [{ role: 'user', content } as const], promptIds: null };
  return (await subject.ask(question, 1)).promptIds.length;
}
