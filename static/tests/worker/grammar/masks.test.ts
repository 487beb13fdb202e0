import { expect, test } from 'vitest';

import type { Guidance } from '../../../worker/grammar/answer-grammar';
import { isAllowed } from '../../../worker/grammar/guide';
import type { GuidedAnswer } from '../../../worker/grammar/guide';
import { readVectors } from '../vectors';
import { guidesFor, tokenizer } from './demo';

interface Vectors {
  /** JSON text by name. */
  readonly schemas: Readonly<Record<string, string>>;
  readonly walks: readonly {
    readonly kind: string;
    readonly schemas: readonly [string, string];
    /** The id taken, how many were allowed, and the sum of those. */
    readonly steps: readonly (readonly [number, number, number])[];
  }[];
}

const { schemas, walks } = readVectors('masks.json') as Vectors;

function guidanceOf(kind: string, [first, second]: readonly [string, string]): Guidance {
  const tools = [
    { name: 'alpha', description: '', parameters: schemas[first]! },
    { name: 'be_ta-2', description: '', parameters: schemas[second]! },
  ];
  return {
    tools: kind === 'format' ? [] : tools,
    toolChoice: kind === 'required' || kind === 'none' ? kind : 'auto',
    parallelToolCalls: true,
    answerFormat: kind.startsWith('format') ? { schema: schemas[first]! } : null,
  };
}

/** Goes on with the id, and tells what was allowed in its place. */
function step(guide: GuidedAnswer, id: number): readonly number[] {
  const forced = guide.forced(1);
  if (forced.length > 0) return forced;
  const { allowed } = guide;
  guide.push(id);
  return Array.from({ length: tokenizer.size }, (_, i) => i).filter((i) => isAllowed(allowed, i));
}

test.each(walks)('$kind: $schemas', ({ kind, schemas: names, steps }) => {
  const { guide } = guidesFor().begin(guidanceOf(kind, names));
  let said = '';
  for (const [id, count, sum] of steps) {
    const allowed = step(guide!, id);
    const total = allowed.reduce((a, b) => a + b, 0);
    expect([said, allowed.length, total]).toEqual([said, count, sum]);
    expect(allowed).toContain(id);
    said += tokenizer.decode([id]);
  }
});
