/** The decode loop: token ids in, text out. Knows neither devices nor the page. */
import { LocalphiError } from '../../shared/errors';
import type { CallPiece, EndReason } from '../../shared/protocol';
import type { GuidedAnswer } from '../grammar/guide';
import type { AnswerReader, Piece } from './calls';
import type { Logits } from './logits';
import { PromptLookup } from './lookup';
import type { Sampler } from './sampler';
import type { DecoderSession } from './decoder';
import type { StopStrings } from './stops';

/** Tokens per prefill run: cancelling takes effect, and progress shows, between runs. */
const CHUNK_TOKENS = 256;

/** One answer in the making. Outlives the session, so that another device can go on with it. */
export interface Answer {
  readonly promptIds: readonly number[];
  /** Ids chosen so far, the end token not among them; `generate` adds to it. */
  readonly ids: number[];
  /** Most ids to choose. */
  readonly maxTokens: number;
  readonly endIds: ReadonlySet<number>;
  readonly sampler: Sampler;
  readonly reader: AnswerReader;
  readonly stops: StopStrings;
  /** What holds the answer to tools or a format; null for any text. */
  readonly guide: GuidedAnswer | null;
}

/** Told what happens, in order. `onText` gets no empty pieces. */
export interface AnswerListener {
  onReading(doneTokens: number, totalTokens: number): void;
  /** An id was chosen that belongs to the answer; what it adds follows. */
  onToken(id: number): void;
  onText(text: string): void;
  onCall(piece: CallPiece): void;
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
    // 3. Choose: one, or as many as there is no choice about.
    const known = answer.guide?.forced(answer.maxTokens - answer.ids.length) ?? [];
    const ids = known.length > 0 ? known : [await choose(answer, ahead.logits)];
    if (answer.endIds.has(ids[0]!)) return finish(answer, listener, 'stop');
    if (known.length > 0) for (const id of ids) answer.sampler.push(id);
    else answer.guide?.push(ids[0]!);
    answer.ids.push(...ids);
    // 4. Show.
    for (const id of ids) {
      listener.onToken(id);
      if (show(answer, listener, answer.reader.push(id))) return 'stop';
    }
    if (answer.reader.over) return finish(answer, listener, 'stop');
    // 5. Read it, unless it was the last.
    if (answer.ids.length < answer.maxTokens) {
      await nextTask();
      await ahead.take(ids, answer.maxTokens - answer.ids.length - 1);
    }
  }
}

/**
 * Begin the answer with ids that were chosen elsewhere; says why it ended, where it is over with them.
 * Grammar, penalties, random numbers, text and stop strings are then where they would be. Throws a `device`
 * error for ids that the grammar does not have.
 */
export function replay(
  answer: Answer,
  ids: readonly number[],
  listener: AnswerListener,
): EndReason | null {
  const { guide, sampler, reader } = answer;
  while (answer.ids.length < ids.length) {
    const at = answer.ids.length;
    const forced = guide?.forced(ids.length - at) ?? [];
    const next = forced.length > 0 ? forced : [ids[at]!];
    if (next.some((id, i) => id !== ids[at + i]))
      throw new LocalphiError(
        'device',
        'the answer was begun with what its grammar does not allow',
      );
    if (forced.length === 0) {
      if (guide?.allowed.count !== 1) sampler.skip();
      guide?.push(ids[at]!);
    }
    for (const id of next) sampler.push(id);
    answer.ids.push(...next);
    for (const id of next) {
      listener.onToken(id);
      if (show(answer, listener, reader.push(id))) return 'stop';
    }
    if (reader.over) return finish(answer, listener, 'stop');
  }
  return null;
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

  /** Goes on after the chosen ids, which at most `most` others will follow. */
  async take(ids: readonly number[], most: number): Promise<void> {
    for (const id of ids) this.#lookup.push(id);
    let read = 0; // of the ids: guessed right
    while (read < ids.length && this.#guess[this.#right] === ids[read]) {
      this.#right++;
      read++;
    }
    if (read === ids.length) return;
    const { length } = this.#guess;
    if (length > 0) {
      this.#lookup.score(this.#right, length);
      this.#session.rewind(this.#session.ids.length - (length - this.#right));
    }
    this.#right = 0;
    this.#guess = this.#session.logitsOfAll ? this.#lookup.guess(most) : [];
    const wanted = ids.slice(read);
    const rows = await this.#session.read([...wanted, ...this.#guess]);
    this.#rows = rows.slice(Math.max(0, rows.length - this.#guess.length - 1));
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
  const chunkTokens = session.readsFromTheStart ? startOver(session, ids.length) : CHUNK_TOKENS;
  for (let done = session.ids.length; done < ids.length; done += chunkTokens) {
    listener.onReading(done, ids.length);
    await nextTask();
    if (signal.aborted) return null;
    const rows = await session.read(ids.slice(done, done + chunkTokens));
    logits = rows.at(-1)!;
  }
  return logits;
}

/** About how many ids are read at once in the time of one alone. */
const TOGETHER = 16;

/** For a session that reads from the start: one by one where few are missing, else all anew. */
function startOver(session: DecoderSession, length: number): number {
  const missing = length - session.ids.length;
  if (missing * TOGETHER < length) return 1;
  session.rewind(0);
  return length;
}

/** How many ids both begin with. */
function commonLength(one: readonly number[], other: readonly number[]): number {
  const different = one.findIndex((id, i) => id !== other[i]);
  return different === -1 ? one.length : different;
}

function finish(answer: Answer, listener: AnswerListener, reason: EndReason): EndReason {
  if (!show(answer, listener, answer.reader.finish())) {
    const text = answer.stops.flush();
    if (text !== '') listener.onText(text);
  }
  return reason === 'stop' && answer.reader.calls ? 'tool_calls' : reason;
}

/** Tells the pieces; whether a stop string has come, which only text can bring. */
function show(answer: Answer, listener: AnswerListener, pieces: readonly Piece[]): boolean {
  for (const piece of pieces) {
    if (typeof piece !== 'string') {
      // No text comes after a call, so nothing held back can become a stop string.
      const held = answer.stops.flush();
      if (held !== '') listener.onText(held);
      listener.onCall(piece);
      continue;
    }
    const { text, stopped } = answer.stops.push(piece);
    if (text !== '') listener.onText(text);
    if (stopped) return true;
  }
  return false;
}

async function choose({ sampler, guide }: Answer, logits: Logits): Promise<number> {
  const allowed = guide?.allowed;
  if (allowed?.count === 0)
    throw new LocalphiError('request', 'the model has no token that fits the schema here');
  try {
    return await (allowed ? sampler.chooseAllowed(logits, allowed) : sampler.choose(logits));
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
