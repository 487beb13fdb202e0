import { expect, test } from 'vitest';

import { TextReader } from '../../worker/runtime/calls';
import { generate, replay } from '../../worker/runtime/generate';
import type { Answer } from '../../worker/runtime/generate';
import { logitsInMemory } from '../../worker/runtime/logits';
import type { Logits } from '../../worker/runtime/logits';
import { NO_RULES, Sampler } from '../../worker/runtime/sampler';
import type { DecoderSession } from '../../worker/runtime/decoder';
import { StopStrings } from '../../worker/runtime/stops';

const END = 9;
const VOCABULARY = 10;

/** Answers with the ids of a script, whatever it reads. */
class ScriptedSession implements DecoderSession {
  readonly reads: (readonly number[])[] = [];
  readonly ids: number[] = [];
  readonly logitsOfAll = false;
  readonly #script: (number | Error)[];

  constructor(...script: (number | Error)[]) {
    this.#script = script;
  }

  read(ids: readonly number[]): Promise<readonly Logits[]> {
    this.reads.push(ids);
    this.ids.push(...ids);
    const next = this.#script.shift();
    if (next instanceof Error) return Promise.reject(next);
    const logits = new Float32Array(VOCABULARY);
    logits[next ?? END] = 1;
    return Promise.resolve([logitsInMemory(logits)]);
  }

  rewind(length: number): void {
    this.ids.length = Math.min(length, this.ids.length);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

/** Prefers no id. */
class FlatSession extends ScriptedSession {
  override read(ids: readonly number[]): Promise<readonly Logits[]> {
    this.ids.push(...ids);
    return Promise.resolve([logitsInMemory(new Float32Array(VOCABULARY).fill(-Infinity, END))]);
  }
}

function answerTo(promptIds: number[], change: Partial<Answer> = {}): Answer {
  return {
    promptIds,
    ids: [],
    maxTokens: 100,
    endIds: new Set([END]),
    sampler: new Sampler({ temperature: 0, topP: 1, topK: 0, ...NO_RULES }, 1),
    reader: new TextReader({ push: (id) => String(id), flush: () => '' }),
    guide: null,
    stops: new StopStrings([]),
    ...change,
  };
}

class Log {
  text = '';
  readonly reading: number[] = [];

  onReading(done: number): void {
    this.reading.push(done);
  }

  onToken(): void {}

  onCall(): void {}

  onText(text: string): void {
    this.text += text;
  }
}

const unaborted = { signal: new AbortController().signal };

test('an answer ends at the end token, which is not part of it', async () => {
  const answer = answerTo([1, 2]);
  const log = new Log();
  const session = new ScriptedSession(5, 6, END);
  expect(await generate(session, answer, log, unaborted)).toBe('stop');
  expect(answer.ids).toEqual([5, 6]);
  expect(log.text).toBe('56');
  expect(session.reads).toEqual([[1, 2], [5], [6]]);
});

test('an answer ends at its length, and the last id is not read', async () => {
  const answer = answerTo([1], { maxTokens: 2 });
  const session = new ScriptedSession(5, 6, 7);
  expect(await generate(session, answer, new Log(), unaborted)).toBe('length');
  expect(answer.ids).toEqual([5, 6]);
  expect(session.reads).toEqual([[1], [5]]);
});

test('an answer ends before a stop string', async () => {
  const answer = answerTo([1], { stops: new StopStrings(['67']) });
  const log = new Log();
  expect(await generate(new ScriptedSession(5, 6, 7, 8), answer, log, unaborted)).toBe('stop');
  expect(log.text).toBe('5');
});

test('what the detokenizer and the stop strings hold back comes in the end', async () => {
  const answer = answerTo([1], {
    stops: new StopStrings(['5!']),
    reader: new TextReader({ push: (id) => String(id), flush: () => '?' }),
  });
  const log = new Log();
  await generate(new ScriptedSession(5, END), answer, log, unaborted);
  expect(log.text).toBe('5?');
});

test('a long prompt is read in chunks, with progress', async () => {
  const prompt = Array.from({ length: 600 }, () => 1);
  const log = new Log();
  const session = new ScriptedSession(1, 1, END);
  await generate(session, answerTo(prompt), log, unaborted);
  expect(session.reads.map(({ length }) => length)).toEqual([256, 256, 88]);
  expect(log.reading).toEqual([0, 256, 512]);
});

test('what the session has read already is not read again', async () => {
  const session = new ScriptedSession(5, 6, END, 7, END, 8, END, END);
  await generate(session, answerTo([1, 2, 3]), new Log(), unaborted);
  expect(session.ids).toEqual([1, 2, 3, 5, 6]);
  const followUp = new Log();
  await generate(session, answerTo([1, 2, 3, 5, 6, END, 4]), followUp, unaborted);
  expect(session.reads.slice(3)).toEqual([[END, 4], [7]]);
  expect(followUp.reading).toEqual([5]);
  await generate(session, answerTo([1, 2, 9]), new Log(), unaborted); // another branch
  expect(session.reads.slice(5)).toEqual([[9], [8]]);
  await generate(session, answerTo([1, 2]), new Log(), unaborted); // the same again: one id gives logits
  expect(session.reads.slice(7)).toEqual([[2]]);
});

test('a cancel takes effect between chunks', async () => {
  const controller = new AbortController();
  const log = new Log();
  log.onReading = (done) => {
    if (done === 256) controller.abort();
  };
  const session = new ScriptedSession();
  const prompt = Array.from({ length: 600 }, () => 1);
  expect(await generate(session, answerTo(prompt), log, { signal: controller.signal })).toBe(
    'cancelled',
  );
  expect(session.reads).toHaveLength(1);
});

test('a cancel while answering keeps the text', async () => {
  const controller = new AbortController();
  const log = new Log();
  const answer = answerTo([1]);
  log.onToken = () => {
    if (answer.ids.length === 2) controller.abort();
  };
  const reason = await generate(new ScriptedSession(5, 6, 7), answer, log, {
    signal: controller.signal,
  });
  expect(reason).toBe('cancelled');
  expect(log.text).toBe('56');
});

test('another session goes on where one failed', async () => {
  const answer = answerTo([1]);
  const log = new Log();
  const failing = new ScriptedSession(5, 6, new Error('lost'));
  await expect(generate(failing, answer, log, unaborted)).rejects.toThrow('lost');
  const next = new ScriptedSession(7, END);
  expect(await generate(next, answer, log, unaborted)).toBe('stop');
  expect(next.reads[0]).toEqual([1, 5, 6]);
  expect(log.text).toBe('567');
});

test('logits that are nonsense are the device’s fault', async () => {
  const session = new ScriptedSession();
  session.read = () => Promise.resolve([logitsInMemory(Float32Array.of(NaN))]);
  await expect(generate(session, answerTo([1]), new Log(), unaborted)).rejects.toMatchObject({
    kind: 'device',
  });
});

/** Says a text over and over, whatever it is asked, and gives the logits of each id it reads. */
class RepeatingSession implements DecoderSession {
  readonly reads: (readonly number[])[] = [];
  readonly ids: number[] = [];
  readonly logitsOfAll = true;
  readonly #text: readonly number[];
  readonly #promptLength: number;

  constructor(text: readonly number[], promptLength: number) {
    this.#text = text;
    this.#promptLength = promptLength;
  }

  read(ids: readonly number[]): Promise<readonly Logits[]> {
    this.reads.push(ids);
    const rows = ids.map((id) => {
      this.ids.push(id);
      const logits = new Float32Array(VOCABULARY);
      logits[this.#text[(this.ids.length - this.#promptLength) % this.#text.length]!] = 1;
      return logitsInMemory(logits);
    });
    return Promise.resolve(rows);
  }

  rewind(length: number): void {
    this.ids.length = Math.min(length, this.ids.length);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

test('what repeats is read several ids at once, and stays the same', async () => {
  const text = [1, 2, 3, 4, 5, 6, 7];
  const answer = answerTo([8, 8], { maxTokens: 40 });
  const session = new RepeatingSession(text, 2);
  expect(await generate(session, answer, new Log(), unaborted)).toBe('length');
  expect(answer.ids).toEqual(Array.from({ length: 40 }, (_, i) => text[i % 7]));
  expect(session.reads.length).toBeLessThan(20);
  expect(session.ids.length).toBeLessThanOrEqual(42);
});

test('wrong guesses are forgotten, and what follows is as without them', async () => {
  const text = [1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3, 6];
  const answer = answerTo([8], { maxTokens: 60 });
  const session = new RepeatingSession(text, 1);
  await generate(session, answer, new Log(), unaborted);
  expect(answer.ids).toEqual(Array.from({ length: 60 }, (_, i) => text[i % 12]));
  const read = [...answer.promptIds, ...answer.ids.slice(0, -1)];
  expect(session.ids.slice(0, read.length)).toEqual(read);
});

/** Several ids are quick to read at the start alone. */
class StartingSession extends ScriptedSession {
  readonly readsFromTheStart = true;
}

test('a session that reads from the start reads a long prompt at once', async () => {
  const prompt = Array.from({ length: 600 }, (_, i) => i % 8);
  const session = new StartingSession(END);
  const log = new Log();
  await generate(session, answerTo(prompt), log, unaborted);
  expect(session.reads).toEqual([prompt]);
  expect(log.reading).toEqual([0]);
});

test.each([
  ['one by one where few are missing', 40, [[1], [2]]],
  ['all anew where many are', 30, [[...Array<number>(30).fill(0), 1, 2]]],
])('and what comes behind, %s', async (_, known, reads) => {
  const prompt = [...Array<number>(known).fill(0), 1, 2];
  const session = new StartingSession(END, END);
  await session.read(prompt.slice(0, known));
  session.reads.length = 0;
  await generate(session, answerTo(prompt), new Log(), unaborted);
  expect(session.reads).toEqual(reads);
});

test('an answer begun elsewhere goes on where it would be', async () => {
  const log = new Log();
  const answer = answerTo([1], { stops: new StopStrings(['67']) });
  expect(replay(answer, [5, 6], log)).toBeNull();
  expect(log.text).toBe('5'); // the 6 may belong to a stop string
  const session = new ScriptedSession(8, END);
  expect(await generate(session, answer, log, unaborted)).toBe('stop');
  expect(session.reads).toEqual([[1, 5, 6], [8]]);
  expect(log.text).toBe('568');
});

test('an answer that was begun as far as its stop string is over', () => {
  const log = new Log();
  const answer = answerTo([1], { stops: new StopStrings(['67']) });
  expect(replay(answer, [5, 6, 7, 8], log)).toBe('stop');
  expect(answer.ids).toEqual([5, 6, 7]);
  expect(log.text).toBe('5');
});

test('penalties and random numbers know what was begun elsewhere', async () => {
  const rules = { temperature: 1, topP: 1, topK: 0, ...NO_RULES, presencePenalty: 1 };
  const whole = answerTo([1], { sampler: new Sampler(rules, 7), maxTokens: 8 });
  await generate(new FlatSession(), whole, new Log(), unaborted);
  for (const cut of [1, 4, 7]) {
    const again = answerTo([1], { sampler: new Sampler(rules, 7), maxTokens: 8 });
    replay(again, whole.ids.slice(0, cut), new Log());
    await generate(new FlatSession(), again, new Log(), unaborted);
    expect(again.ids).toEqual(whole.ids);
  }
});
