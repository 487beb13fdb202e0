/** The decode loop: token ids in, text out. Knows neither devices nor the page. */
import { LocalphiError } from '../../shared/errors';
import type { EndReason } from '../../shared/protocol';
import type { Logits } from './logits';
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
  let logits = await prefill(session, [...answer.promptIds, ...answer.ids], listener, signal);
  for (;;) {
    // 2. Reasons to end before another token.
    if (signal.aborted || logits === null) return finish(answer, listener, 'cancelled');
    if (answer.ids.length >= answer.maxTokens) return finish(answer, listener, 'length');
    // 3. Choose.
    const id = await choose(answer.sampler, logits);
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
      logits = await session.read([id]);
    }
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
    logits = await session.read(ids.slice(done, done + CHUNK_TOKENS));
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
