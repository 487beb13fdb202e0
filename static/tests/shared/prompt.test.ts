import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

import { neutralise, render } from '../../shared/prompt';
import type { Pair, PromptFormat } from '../../shared/prompt';
import type { Tool, ToolCall } from '../../shared/chat';
import type { Role } from '../../shared/protocol';

interface Vectors {
  readonly formats: Record<string, VectorFormat>;
  readonly cases: readonly {
    readonly name: string;
    readonly format: string;
    readonly messages: readonly VectorMessage[];
    readonly system_prompt: string | null;
    readonly tools?: readonly Tool[];
    readonly answer_format?: { readonly schema: string | null };
    readonly rendered: string;
  }[];
}

interface VectorMessage {
  readonly role: Role;
  readonly content: string;
  readonly tool_calls?: readonly ToolCall[];
  readonly tool_call_id?: string;
}

interface VectorFormat extends Omit<PromptFormat, 'roles' | 'tools' | 'toolCall' | 'systemInUser'> {
  readonly roles: Record<string, Pair>;
  readonly tools?: Pair;
  readonly tool_call?: Pair;
  readonly system_in_user?: boolean;
}

const file = new URL('../../../tests/vectors/prompt.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors;

function formatOf(name: string): PromptFormat {
  const format = vectors.formats[name]!;
  return {
    ...format,
    roles: new Map(Object.entries(format.roles)),
    tools: format.tools ?? null,
    toolCall: format.tool_call ?? null,
    systemInUser: format.system_in_user ?? false,
  };
}

function turnOf({ role, content, tool_calls = [], tool_call_id = '' }: VectorMessage) {
  return { role, content, toolCalls: tool_calls, toolCallId: tool_call_id };
}

describe('rendering agrees with Python', () => {
  test.each(vectors.cases)('$format: $name', (vector) => {
    const extras = { tools: vector.tools ?? [], answerFormat: vector.answer_format ?? null };
    const turns = vector.messages.map(turnOf);
    const text = render(formatOf(vector.format), turns, vector.system_prompt, extras);
    expect(text).toBe(vector.rendered);
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
