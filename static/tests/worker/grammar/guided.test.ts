import { describe, expect, test } from 'vitest';

import { parseRequest } from '../../../client/request';
import type { ChatCompletionParams } from '../../../client/api';
import { render } from '../../../shared/prompt';
import { isAllowed } from '../../../worker/grammar/guide';
import { readVectors } from '../vectors';
import { endIds, guidesFor, manifest, tokenizer } from './demo';

interface Case {
  readonly name: string;
  readonly body: ChatCompletionParams;
  readonly prompt_tokens: number;
  readonly ids: readonly number[];
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
  readonly finish_reason: string;
}

const { cases } = readVectors('guided.json') as { readonly cases: readonly Case[] };
const guides = guidesFor();

describe.each(cases)('$name', (wanted) => {
  const { messages, options } = parseRequest(wanted.body, 'localphi-demo');
  const {
    tools = [],
    toolChoice = 'auto',
    parallelToolCalls = true,
    answerFormat = null,
  } = options;
  const guidance = { tools, toolChoice, parallelToolCalls, answerFormat };

  test('has the prompt of the server', () => {
    const text = render(manifest.promptFormat, messages, manifest.systemPrompt, {
      tools,
      answerFormat,
    });
    expect(tokenizer.encode(text)).toHaveLength(wanted.prompt_tokens);
  });

  test('allows each id of the answer, and leaves no choice where the server did not', () => {
    const { guide, reader } = guides.begin(guidance);
    let text = '';
    const calls: { name: string; arguments: string }[] = [];
    const take = (id: number | null) => {
      for (const piece of id === null ? reader.finish() : reader.push(id)) {
        if (typeof piece === 'string') text += piece;
        else if (piece.type === 'call') calls.push({ name: piece.name, arguments: '' });
        else calls[piece.index]!.arguments += piece.text;
      }
    };
    for (let place = 0; place < wanted.ids.length;) {
      const forced = guide!.forced(Infinity);
      expect(forced).toEqual(wanted.ids.slice(place, place + forced.length));
      forced.forEach(take);
      place += forced.length;
      if (forced.length > 0) continue;
      const id = wanted.ids[place++]!;
      expect([id, isAllowed(guide!.allowed, id)]).toEqual([id, true]);
      guide!.push(id);
      take(id);
    }
    if (!reader.over) {
      expect([...endIds].some((id) => isAllowed(guide!.allowed, id))).toBe(
        wanted.finish_reason !== 'length',
      );
    }
    take(null);
    expect({ text, calls }).toEqual({ text: wanted.text, calls: wanted.calls });
    expect(reader.calls).toBe(wanted.finish_reason === 'tool_calls');
  });
});
