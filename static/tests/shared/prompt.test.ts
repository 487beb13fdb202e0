import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

import { neutralise, render } from '../../shared/prompt';
import type { PromptFormat } from '../../shared/prompt';
import type { Message } from '../../shared/protocol';

interface Vectors {
  readonly formats: Record<string, VectorFormat>;
  readonly cases: readonly {
    readonly name: string;
    readonly format: string;
    readonly messages: readonly Message[];
    readonly system_prompt: string | null;
    readonly rendered: string;
  }[];
}

interface VectorFormat extends Omit<PromptFormat, 'roles'> {
  readonly roles: Record<string, [string, string]>;
}

const file = new URL('../../../tests/vectors/prompt.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors;

function formatOf(name: string): PromptFormat {
  const format = vectors.formats[name]!;
  return { ...format, roles: new Map(Object.entries(format.roles)) };
}

describe('rendering agrees with Python', () => {
  test.each(vectors.cases)('$format: $name', ({ format, messages, system_prompt, rendered }) => {
    expect(render(formatOf(format), messages, system_prompt)).toBe(rendered);
  });
});

test('a role the model does not know is refused by name', () => {
  const format = { ...formatOf('phi-4'), roles: new Map() };
  expect(() => render(format, [{ role: 'user', content: '' }], null)).toThrow(/"user"/);
});

test('control tokens that overlap are all broken', () => {
  expect(neutralise('<a><b>', ['<a>', '><b'])).toBe('<\u200ba>\u200b<b>');
});

test('without control tokens the text stays as it is', () => {
  expect(neutralise('<|end|>', [])).toBe('<|end|>');
});
