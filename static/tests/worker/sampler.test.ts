import { describe, expect, test } from 'vitest';

import cases from '../../../tests/vectors/sampler.json';
import type { Allowed } from '../../worker/grammar/guide';
import { logitsInMemory } from '../../worker/runtime/logits';
import type { Logits } from '../../worker/runtime/logits';
import { NO_RULES, Sampler, argmax } from '../../worker/runtime/sampler';
import type { SamplingRules } from '../../worker/runtime/sampler';

const GREEDY = { temperature: 0, topP: 1, topK: 0 };

function draws(
  sampling: Partial<SamplingRules>,
  logits: number[],
  count = 200,
  seed = 1,
): number[] {
  const sampler = new Sampler({ ...GREEDY, ...NO_RULES, ...sampling }, seed);
  return Array.from({ length: count }, () => sampler.draw(Float32Array.from(logits)));
}

test('temperature 0 takes the largest logit, the first of equals', () => {
  expect(draws(GREEDY, [0, 3, 3, 1], 1)).toEqual([1]);
});

test('the same seed draws the same ids, another seed others', () => {
  const warm = { ...GREEDY, temperature: 1 };
  expect(draws(warm, [1, 1, 1, 1])).toEqual(draws(warm, [1, 1, 1, 1]));
  expect(draws(warm, [1, 1, 1, 1])).not.toEqual(draws(warm, [1, 1, 1, 1], 200, 2));
});

test('ids are drawn as often as their probability says', () => {
  const ids = draws({ ...GREEDY, temperature: 1 }, [Math.log(3), 0], 4000);
  expect(ids.filter((id) => id === 0).length / ids.length).toBeCloseTo(0.75, 1);
});

test('a low temperature sharpens', () => {
  expect(new Set(draws({ ...GREEDY, temperature: 0.05 }, [2, 1, 0]))).toEqual(new Set([0]));
});

test('top-k leaves the k likeliest', () => {
  const ids = draws({ temperature: 5, topP: 1, topK: 2 }, [0, 3, 2, 1]);
  expect(new Set(ids)).toEqual(new Set([1, 2]));
});

test('top-p leaves the fewest ids that reach p', () => {
  const half = draws({ temperature: 1, topP: 0.5, topK: 0 }, [Math.log(6), Math.log(3), 0]);
  expect(new Set(half)).toEqual(new Set([0]));
  const most = draws({ temperature: 1, topP: 0.8, topK: 0 }, [Math.log(6), Math.log(3), 0]);
  expect(new Set(most)).toEqual(new Set([0, 1]));
});

describe('among what is allowed', () => {
  const allow = (...ids: number[]): Allowed => ({
    bits: Uint32Array.of(ids.reduce((bits, id) => bits | (1 << id), 0)),
    ...{ count: ids.length, first: Math.min(...ids) },
  });
  const choose = (rules: Partial<SamplingRules>, logits: Logits, allowed: Allowed) =>
    new Sampler({ ...GREEDY, ...NO_RULES, ...rules }, 1).chooseAllowed(logits, allowed);
  const untouched: Logits = {
    size: 4,
    all: () => Promise.reject(new Error('the vocabulary was moved')),
    head: () => Promise.resolve({ ids: [3, 1, 0], logits: [4, 3, 2], total: 2 }),
  };

  test('the largest, in memory or in the head of what a GPU has', async () => {
    const logits = logitsInMemory(Float32Array.of(2, 3, 1, 4));
    expect(await choose({}, logits, allow(0, 1, 2))).toBe(1);
    expect(await choose({}, untouched, allow(0, 1, 2))).toBe(1);
  });

  test('the only one, without a look at the logits', async () => {
    expect(await choose({ temperature: 1 }, untouched, allow(2))).toBe(2);
  });

  test('the whole vocabulary, where the head has none of them', async () => {
    await expect(choose({}, { ...untouched, size: 5 }, allow(2, 4))).rejects.toThrow('was moved');
  });

  test('drawn as if the others were not there', async () => {
    const sampler = new Sampler({ ...GREEDY, ...NO_RULES, temperature: 1, topP: 0.7 }, 1);
    const logits = logitsInMemory(Float32Array.of(9, Math.log(6), Math.log(3), 0));
    const drawn = new Set<number>();
    for (let i = 0; i < 200; i++) drawn.add(await sampler.chooseAllowed(logits, allow(1, 2, 3)));
    expect(drawn).toEqual(new Set([1, 2])); // 0.6 and 0.3 of what is left
  });
});

test('the logits are left as they were', () => {
  const logits = Float32Array.of(1, 2);
  new Sampler({ ...NO_RULES, temperature: 1, topP: 0.9, topK: 0, presencePenalty: 1 }, 1).draw(
    logits,
  );
  expect([...logits]).toEqual([1, 2]);
});

test('an id that was chosen is less likely from the next one on', () => {
  expect(draws({ presencePenalty: 2 }, [3, 2, 0], 4)).toEqual([0, 1, 0, 0]);
  expect(draws({ frequencyPenalty: 2 }, [3, 2, 0.5], 4)).toEqual([0, 1, 0, 2]);
  expect(draws({ repetitionPenalty: 2 }, [3, 2, 0.5], 3)).toEqual([0, 1, 0]);
});

test.each(cases)('the choice is that of the server: $name', (example) => {
  const { sampling } = example;
  const sampler = new Sampler(
    {
      temperature: sampling.temperature,
      topP: sampling.top_p,
      topK: sampling.top_k,
      minP: sampling.min_p,
      repetitionPenalty: sampling.repetition_penalty,
      presencePenalty: sampling.presence_penalty,
      frequencyPenalty: sampling.frequency_penalty,
    },
    1,
    example.prompt,
  );
  for (const id of example.generated) sampler.push(id);
  const { ids, weights } = sampler.candidates(Float32Array.from(example.logits));
  const total = weights.reduce((a, b) => a + b, 0);
  const likely = new Map(ids.map((id, i) => [id, weights[i]! / total]));
  for (const id of ids) expect(example.ids).toContain(id);
  example.ids.forEach((id, i) => {
    expect(likely.get(id) ?? 0, `id ${id}`).toBeCloseTo(example.probabilities[i]!, 4);
  });
});

test('barred tokens are not chosen', () => {
  expect(argmax(Float32Array.of(-Infinity, -5))).toBe(1);
});

test.each([
  ['not a number', [0, NaN]],
  ['infinite', [0, Infinity]],
  ['all barred', [-Infinity, -Infinity]],
  ['none at all', []],
])('logits that are %s are refused', (_, logits) => {
  expect(() => argmax(Float32Array.from(logits))).toThrow(RangeError);
});

/** Logits whose vocabulary is never moved, unless `all` is asked for. */
function onDevice(values: Float32Array): Logits & { moved: number } {
  const logits = {
    size: values.length,
    moved: 0,
    all: () => {
      logits.moved++;
      return Promise.resolve(values);
    },
    head: (count: number, temperature: number) => {
      const order = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
      const peak = values[order[0]!]!;
      const total = values.reduce((sum, v) => sum + Math.exp((v - peak) / temperature), 0);
      const ids = order.slice(0, count);
      return Promise.resolve({ ids, logits: ids.map((id) => values[id]!), total });
    },
  };
  return logits;
}

/** Falling logits in a shuffled order, with equals among them. */
const BROAD = Float32Array.from({ length: 200 }, (_, i) => -Math.floor(((i * 77) % 200) / 3) / 4);

test.each<[string, Partial<SamplingRules>, boolean]>([
  ['greedy', {}, true],
  ['top-k 1', { temperature: 1, topK: 1 }, true],
  ['top-k', { temperature: 1, topK: 20 }, true],
  ['top-k and top-p', { temperature: 0.7, topK: 40, topP: 0.9 }, true],
  ['top-p within the head', { temperature: 0.5, topP: 0.8 }, true],
  ['min-p', { temperature: 1, minP: 0.05 }, true],
  ['top-p beyond the head', { temperature: 9, topP: 0.99 }, false],
  ['top-k beyond the head', { temperature: 1, topK: 100 }, false],
  ['min-p beyond the head', { temperature: 50, minP: 0.1 }, false],
  ['no filter', { temperature: 1 }, false],
  ['penalties', { presencePenalty: 1 }, false],
])('the head of the logits gives the same choices: %s', async (_, rules, fromHead) => {
  const all = { temperature: 0, topP: 1, topK: 0, ...NO_RULES, ...rules };
  const [near, far] = [new Sampler(all, 5), new Sampler(all, 5)];
  const logits = onDevice(BROAD);
  for (let i = 0; i < 30; i++) expect(await far.choose(logits)).toBe(near.draw(BROAD));
  expect(logits.moved).toBe(fromHead ? 0 : 30);
});

test('equals at the edge of the head are not decided there', async () => {
  const equal = onDevice(new Float32Array(100));
  const sampler = new Sampler({ ...NO_RULES, temperature: 1, topP: 1, topK: 10 }, 1);
  await sampler.choose(equal);
  expect(equal.moved).toBe(1);
});
