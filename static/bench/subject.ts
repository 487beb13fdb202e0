/** Something whose speed is measured: our worker, or another program that a test brings along. */
import type { AnswerEnd } from '../page/backend';
import type { LocalBackend } from '../page/local-backend';
import type { BrowserDevice, ChatOptions, Message } from '../shared/protocol';

/** What to answer: a conversation, and its ids once somebody has told them. */
export interface Question {
  readonly messages: readonly Message[];
  readonly promptIds: readonly number[] | null;
}

/** One greedy answer on the clock. */
export interface Timed {
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  /** Of the prompt, what had been read before. */
  readonly cachedTokens: number;
  readonly firstTokenMs: number;
  /** Of the tokens after the first; null for less than two. */
  readonly tokensPerSecond: number | null;
}

export interface Subject {
  readonly name: string;
  /** Answers with exactly so many tokens, the most likely ones. */
  ask(question: Question, tokens: number): Promise<Timed>;
  close(): void;
}

/** What a test puts into `window.localphiBenchPeers`: makes a subject of the same weights. */
export type PeerFactory = (modelId: string, device: BrowserDevice) => Promise<Subject>;

const NEVER = new AbortController().signal;
const GREEDY: ChatOptions = { temperature: 0 };

/** Our worker, with a model loaded. */
export class OwnSubject implements Subject {
  readonly name = 'localphi';
  readonly #backend: LocalBackend;

  /** backend: owned from here on. */
  constructor(backend: LocalBackend) {
    this.#backend = backend;
  }

  async ask({ messages }: Question, tokens: number): Promise<Timed> {
    const { end } = await this.chat(messages, { ...GREEDY, maxTokens: tokens, ignoreEnd: true });
    const { cachedTokens, firstTokenMs, tokensPerSecond } = end.stats;
    return { ...end.ids!, cachedTokens, firstTokenMs, tokensPerSecond };
  }

  /** The most likely answer, as long as the model wants it. */
  async text(messages: readonly Message[], maxTokens: number): Promise<string> {
    return (await this.chat(messages, { ...GREEDY, maxTokens })).text;
  }

  async chat(
    messages: readonly Message[],
    options: ChatOptions,
  ): Promise<{ text: string; end: AnswerEnd }> {
    let text = '';
    const end = await this.#backend.chat(
      messages,
      options,
      {
        onReading: () => {},
        onMoved: (device) => {
          throw new Error(`the device failed, and ${device} took over`);
        },
        onText: (piece) => {
          text += piece;
        },
      },
      { signal: NEVER },
    );
    return { text, end };
  }

  close(): void {
    this.#backend.close();
  }
}
