import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

import { parseRequest } from '../../../client/request';
import type { ChatCompletionParams } from '../../../client/api';
import { parseManifest } from '../../../shared/manifest';
import { render } from '../../../shared/prompt';
import { isAllowed } from '../../../worker/grammar/guide';
import { Guides } from '../../../worker/runtime/guides';
import { Tokenizer } from '../../../worker/runtime/tokenizer';
import { readVectors } from '../vectors';

interface Case {
  readonly name: string;
  readonly body: ChatCompletionParams;
  readonly prompt_tokens: number;
  readonly ids: readonly number[];
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
  readonly finish_reason: string;
}

const { cases } = readVectors<{ readonly cases: readonly Case[] }>('guided.json');
const folder = new URL(
  '../../../../webapp/localphi/models/bundled/localphi-demo/',
  import.meta.url,
);
const read = (name: string): unknown =>
  JSON.parse(readFileSync(fileURLToPath(new URL(name, folder)), 'utf8'));
const manifest = parseManifest(read('localphi.json'));
const tokenizer = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
const ends = new Set(manifest.promptFormat.end.map((token) => tokenizer.idOf(token)));
const guides = new Guides(tokenizer, manifest.promptFormat, ends);

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
      expect([...ends].some((id) => isAllowed(guide!.allowed, id))).toBe(
        wanted.finish_reason !== 'length',
      );
    }
    take(null);
    expect({ text, calls }).toEqual({ text: wanted.text, calls: wanted.calls });
    expect(reader.calls).toBe(wanted.finish_reason === 'tool_calls');
  });
});
