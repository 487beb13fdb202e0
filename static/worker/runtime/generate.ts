/** The decode loop: token ids in, text out. Knows neither devices nor the page. */
import { LocalphiError } from '../../shared/errors';
import type { EndReason } from '../../shared/protocol';
import type { Logits } from './logits';
import { PromptLookup } from './lookup';
import type { Sampler } from './sampler';
import type { DecoderSession } from './session';
import type { StopStrings } from './stops';

/** Tokens per prefill run: cancelling takes effect, and progress shows, between runs. */
const CHUNK_TOKENS = 256;

/** Makes text of token ids, piece by piece. */
export interface Detokenizer {
  push(id: number): string;
  flush(): string;
}

/** One answer in the making. Outlives the session, so that another device can go on with it. */
export interface Answer {
  readonly promptIds: readonly number[];
  /** Ids chosen so far, the end token not among them; `generate` adds to it. */
  readonly ids: number[];
  /** Most ids to choose. */
  readonly maxTokens: number;
  readonly endIds: ReadonlySet<number>;
  readonly sampler: Sampler;
  readonly detokenizer: Detokenizer;
  readonly stops: StopStrings;
}

/** Told what happens, in order. `onText` gets no empty pieces. */
export interface AnswerListener {
  onReading(doneTokens: number, totalTokens: number): void;
  /** An id was chosen that belongs to the answer. */
  onToken(): void;
  onText(text: string): void;
}

/**
 * Run the answer to its end and say why it ended.
 * Starts by reading prompt and ids so far; what the session has read already is not read again. Rejects with what the session
 * throws, or a `device` error for logits no token can be chosen from; the answer can then go on in
 * another session. Lets the event loop turn once per token, so that a cancel can arrive.
 */
export async function generate(
  session: DecoderSession,
  answer: Answer,
  listener: AnswerListener,
  { signal }: { signal: AbortSignal },
): Promise<EndReason> {
  // 1. Read what there is.
  const known = [...answer.promptIds, ...answer.ids];
  const logits = await prefill(session, known, listener, signal);
  if (logits === null) return finish(answer, listener, 'cancelled');
  const ahead = new ReadingAhead(session, new PromptLookup(known), logits);
  for (;;) {
    // 2. Reasons to end before another token.
    if (signal.aborted) return finish(answer, listener, 'cancelled');
    if (answer.ids.length >= answer.maxTokens) return finish(answer, listener, 'length');
    // 3. Choose.
    const id = await choose(answer.sampler, ahead.logits);
    if (answer.endIds.has(id)) return finish(answer, listener, 'stop');
    answer.ids.push(id);
    listener.onToken();
    // 4. Show.
    const { text, stopped } = answer.stops.push(answer.detokenizer.push(id));
    if (text !== '') listener.onText(text);
    if (stopped) return 'stop';
    // 5. Read it, unless it was the last.
    if (answer.ids.length < answer.maxTokens) {
      await nextTask();
      await ahead.take(id, answer.maxTokens - answer.ids.length - 1);
    }
  }
}

/** The logits of the next id; reads guessed ids together with chosen ones. */
class ReadingAhead {
  readonly #session: DecoderSession;
  readonly #lookup: PromptLookup;
  /** Logits after the last chosen id, and after each guess. */
  #rows: readonly Logits[];
  #guess: readonly number[] = [];
  /** Guesses that were right so far. */
  #right = 0;

  constructor(session: DecoderSession, lookup: PromptLookup, logits: Logits) {
    this.#session = session;
    this.#lookup = lookup;
    this.#rows = [logits];
  }

  get logits(): Logits {
    return this.#rows[this.#right]!;
  }

  /** Goes on after the chosen id, which at most `most` others will follow. */
  async take(id: number, most: number): Promise<void> {
    this.#lookup.push(id);
    if (this.#guess[this.#right] === id) {
      this.#right++; // read already
      return;
    }
    const { length } = this.#guess;
    if (length > 0) {
      this.#lookup.score(this.#right, length);
      this.#session.rewind(this.#session.ids.length - (length - this.#right));
    }
    this.#right = 0;
    this.#guess = this.#session.logitsOfAll ? this.#lookup.guess(most) : [];
    this.#rows = await this.#session.read([id, ...this.#guess]);
  }
}

/** Logits after the last id, or null when cancelled on the way. */
async function prefill(
  session: DecoderSession,
  ids: readonly number[],
  listener: AnswerListener,
  signal: AbortSignal,
): Promise<Logits | null> {
  let logits: Logits | null = null;
  session.rewind(Math.min(commonLength(session.ids, ids), ids.length - 1)); // the last one gives logits
  for (let done = session.ids.length; done < ids.length; done += CHUNK_TOKENS) {
    listener.onReading(done, ids.length);
    await nextTask();
    if (signal.aborted) return null;
    const rows = await session.read(ids.slice(done, done + CHUNK_TOKENS));
    logits = rows.at(-1)!;
  }
  return logits;
}

/** How many ids both begin with. */
function commonLength(one: readonly number[], other: readonly number[]): number {
  const different = one.findIndex((id, i) => id !== other[i]);
  return different === -1 ? one.length : different;
}

function finish(answer: Answer, listener: AnswerListener, reason: EndReason): EndReason {
  const last = answer.stops.push(answer.detokenizer.flush());
  const text = last.stopped ? last.text : last.text + answer.stops.flush();
  if (text !== '') listener.onText(text);
  return reason;
}

async function choose(sampler: Sampler, logits: Logits): Promise<number> {
  try {
    return await sampler.choose(logits);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new LocalphiError('device', `the device computed nonsense: ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * Resolves after waiting messages were delivered.
 * Awaiting a promise is not enough for that, and setTimeout waits 4 ms when nested.
 */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
