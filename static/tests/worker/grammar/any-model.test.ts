/** Whatever the model wants, its answer fits and comes to an end. */
import { describe, expect, test } from 'vitest';

import { Guides } from '../../../worker/runtime/guides';
import { generate } from '../../../worker/runtime/generate';
import type { Answer } from '../../../worker/runtime/generate';
import { logitsInMemory } from '../../../worker/runtime/logits';
import type { Logits } from '../../../worker/runtime/logits';
import { NO_RULES, Sampler } from '../../../worker/runtime/sampler';
import type { DecoderSession } from '../../../worker/runtime/decoder';
import { StopStrings } from '../../../worker/runtime/stops';
import type { Guidance } from '../../../worker/grammar/answer-grammar';
import { readVectors } from '../vectors';
import { endIds, guidesFor, tokenizer } from './demo';

const { cases } = readVectors('schemas.json') as {
  readonly cases: readonly { name: string; whole: boolean; schema: unknown; walks?: unknown }[];
};
const NOTHING: Guidance = {
  ...{ tools: [], toolChoice: 'auto', parallelToolCalls: true, answerFormat: null },
};

/** Random logits, with a bias for some texts. */
class Whims implements DecoderSession {
  readonly ids: number[] = [];
  readonly logitsOfAll = false;
  reads = 0;
  readonly #loved: ReadonlySet<number>;
  #state: number;

  constructor(seed: number, loved: Iterable<string>) {
    this.#state = seed;
    this.#loved = new Set(Array.from(loved, (text) => tokenizer.encode(text)[0]!));
  }

  read(ids: readonly number[]): Promise<readonly Logits[]> {
    this.reads++;
    this.ids.push(...ids);
    const logits = Float32Array.from({ length: tokenizer.size }, (_, id) => {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      return (this.#state / 2 ** 32) * 4 + (this.#loved.has(id) ? 6 : 0);
    });
    return Promise.resolve([logitsInMemory(logits)]);
  }

  rewind(length: number): void {
    this.ids.length = Math.min(length, this.ids.length);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

async function answerOf(
  guides: Guides,
  guidance: Guidance,
  seed: number,
  loved: Iterable<string> = '"}]',
) {
  const session = new Whims(seed, loved);
  let text = '';
  const calls: string[] = [];
  const reason = await generate(
    session,
    {
      ...{ promptIds: [5], ids: [], maxTokens: 3000, endIds, stops: new StopStrings([]) },
      sampler: new Sampler({ temperature: 1, topP: 1, topK: 0, ...NO_RULES }, seed),
      ...guides.begin(guidance),
    },
    {
      ...{ onReading: () => {}, onToken: () => {} },
      onText: (piece) => (text += piece),
      onCall: (piece) => {
        if (piece.type === 'call') calls.push('');
        else calls[piece.index]! += piece.text;
      },
    },
    { signal: new AbortController().signal },
  );
  return { reason, text, calls, reads: session.reads };
}

describe.each([true, false])('with tokens around calls: %s', (marked) => {
  const guides = guidesFor({ marked });

  test.each(cases.filter(({ walks, whole }) => walks && !whole))('$name', async ({ schema }) => {
    const tool = { name: 'f', description: '', parameters: JSON.stringify(schema) };
    const guidance: Guidance = { ...NOTHING, tools: [tool], toolChoice: 'required' };
    const answer = await answerOf(guides, guidance, 7);
    expect(answer).toMatchObject({ reason: 'tool_calls', text: '' });
    expect(answer.calls.length).toBeGreaterThan(0);
    for (const given of answer.calls) expect(JSON.parse(given)).toBeTypeOf('object');
  });

  test('in auto, a model talks or calls', async () => {
    const tools = [{ name: 'f', description: '', parameters: '{}' }];
    const seen = new Set<string>();
    for (let seed = 1; seed <= 12; seed++) {
      const loved = seed % 2 ? ['<|tool_call|>'] : ['<|end|>'];
      const answer = await answerOf(guides, { ...NOTHING, tools }, seed, loved);
      for (const given of answer.calls) expect(given).toBe('{}');
      expect(answer.text).not.toContain('<|tool_call|>');
      seen.add(answer.reason);
    }
    if (marked) expect(seen).toContain('tool_calls'); // else a call is one of very many texts
    expect(seen).toContain('stop');
  });
});

test.each(cases.filter(({ walks, whole }) => walks && whole))('JSON: $name', async ({ schema }) => {
  const answerFormat = { schema: JSON.stringify(schema) };
  const answer = await answerOf(guidesFor(), { ...NOTHING, answerFormat }, 3);
  expect(answer).toMatchObject({ reason: 'stop', calls: [] });
  JSON.parse(answer.text);
});

test.each(Array.from('90a[{\\, .-e'))('a model that loves %s comes to an end', async (loved) => {
  const schema = { type: 'object', properties: { a: { type: 'number' }, b: {} }, required: ['a'] };
  const answerFormat = { schema: JSON.stringify(schema) };
  const answer = await answerOf(guidesFor(), { ...NOTHING, answerFormat }, 5, loved);
  expect(answer.reason).toBe('stop');
  JSON.parse(answer.text);
});

test('another device goes on within the grammar where one fails', async () => {
  const schema = { type: 'array', items: { enum: ['red', 'green'] }, minItems: 9, maxItems: 9 };
  const answerFormat = { schema: JSON.stringify(schema) };
  let text = '';
  const answer: Answer = {
    ...{ promptIds: [5], ids: [], maxTokens: 500, endIds, stops: new StopStrings([]) },
    sampler: new Sampler({ temperature: 1, topP: 1, topK: 0, ...NO_RULES }, 1),
    ...guidesFor().begin({ ...NOTHING, answerFormat }),
  };
  const listener = {
    ...{ onReading: () => {}, onToken: () => {}, onCall: () => {} },
    onText: (piece: string) => (text += piece),
  };
  const run = (session: DecoderSession) =>
    generate(session, answer, listener, { signal: new AbortController().signal });
  for (let failures = 0; failures < 5; failures++) {
    const broken = new Whims(failures, '');
    const read = broken.read.bind(broken);
    broken.read = (ids) => (broken.reads < 3 ? read(ids) : Promise.reject(new Error('lost')));
    await expect(run(broken)).rejects.toThrow('lost');
  }
  expect(await run(new Whims(9, ''))).toBe('stop');
  expect(JSON.parse(text)).toHaveLength(9);
});

test('what there is no choice about is read at once', async () => {
  const tool = { name: 'a_rather_long_name', description: '', parameters: '{}' };
  const guidance: Guidance = {
    ...{ ...NOTHING, tools: [tool], toolChoice: 'required', parallelToolCalls: false },
  };
  const { calls, reads } = await answerOf(guidesFor(), guidance, 1);
  expect(calls).toEqual(['{}']);
  expect(reads).toBeLessThan(4); // the prompt, the call
});
