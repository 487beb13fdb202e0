import { expect, test } from 'vitest';

import { parseRequest } from '../../client/request';

const MESSAGES = [{ role: 'user', content: 'Hello' }] as const;

function parse(params: object) {
  return parseRequest({ messages: MESSAGES, ...params }, 'demo');
}

test('what is given is passed on in the words of the worker', () => {
  const request = parse({
    ...{ model: 'demo', stream: true, stream_options: { include_usage: true }, n: 1 },
    ...{ max_tokens: 5, top_p: 0.5, stop: 'END', temperature: 0, seed: null },
  });
  expect(request).toEqual({
    messages: MESSAGES,
    options: { maxTokens: 5, topP: 0.5, stop: ['END'], temperature: 0 },
    stream: true,
    includeUsage: true,
  });
});

const TOOL = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } };

test('tools, their results and the format are passed on', () => {
  const call = { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x": 1}' } };
  const { messages, options } = parse({
    messages: [
      ...MESSAGES,
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'a', content: '2' },
    ],
    tools: [TOOL, { type: 'function', function: { name: 'g', description: 'd' } }],
    ...{ tool_choice: { type: 'function', function: { name: 'f' } }, parallel_tool_calls: false },
    response_format: { type: 'json_schema', json_schema: { schema: { type: 'null' } } },
  });
  expect(messages.slice(1)).toEqual([
    {
      ...{ role: 'assistant', content: '' },
      toolCalls: [{ id: 'a', name: 'f', arguments: '{"x": 1}' }],
    },
    { role: 'tool', content: '2', toolCallId: 'a' },
  ]);
  expect(options).toEqual({
    tools: [
      { name: 'f', description: '', parameters: '{"type":"object"}' },
      { name: 'g', description: 'd', parameters: '{"type":"object","properties":{}}' },
    ],
    ...{ toolChoice: { name: 'f' }, parallelToolCalls: false },
    answerFormat: { schema: '{"type":"null"}' },
  });
  expect(parse({ response_format: { type: 'json_object' } }).options).toEqual({
    answerFormat: { schema: null },
  });
  expect(parse({ tools: [], response_format: { type: 'text' } }).options).toEqual({});
});

test.each([
  [{ tools: {} }, 'tools: must be a list of at most 128 tools'],
  [{ tools: [{ type: 'code' }] }, 'tools[0].type: must be "function"'],
  [{ tools: [TOOL, TOOL] }, "tools[1].function.name: 'f' is the name of another tool"],
  [{ tools: [{ ...TOOL, function: { name: 'a b' } }] }, 'tools[0].function.name: must be 1 to 64'],
  [
    { tools: [{ ...TOOL, function: { name: 'f', parameters: [] } }] },
    'tools[0].function.parameters: must be a JSON schema',
  ],
  [{ tool_choice: 'required' }, 'tool_choice: wants a call, but there are no tools'],
  [{ tool_choice: 'maybe' }, 'tool_choice: must be one of "auto"'],
  [
    { tools: [TOOL], tool_choice: { type: 'function', function: { name: 'g' } } },
    "tool_choice.function.name: no tool has the name 'g'",
  ],
  [{ parallel_tool_calls: 1 }, 'parallel_tool_calls: must be true or false, but is 1'],
  [{ response_format: 'json' }, 'response_format: must be one of {"type": "text"}'],
  [
    { response_format: { type: 'json_schema', json_schema: {} } },
    'response_format.json_schema.schema: must be a JSON schema',
  ],
  [
    { messages: [{ role: 'assistant', tool_calls: [{ ...TOOL, id: 'a' }] }] },
    'messages[0].tool_calls[0].function.arguments: must be the JSON text of an object',
  ],
  [
    { messages: [{ role: 'tool', content: '', tool_call_id: 'a' }] },
    'messages[0].tool_call_id: the turn before has no call "a"',
  ],
  [{ messages: [{ role: 'user', content: null }] }, 'messages[0].content: must be text'],
  [{ messages: [] }, 'messages: must be a list with at least one message, but is []'],
  [{ messages: undefined }, 'messages: must be a list'],
  [{ messages: [{ role: 'robot', content: '' }] }, 'messages[0].role: must be one of system'],
  [{ messages: [null] }, 'messages[0].role'],
  [{ messages: [{ role: 'user', content: [] }] }, 'messages[0].content: must be text, but is []'],
  [{ max_tokens: 0 }, 'max_tokens: must be a whole number from 1 to 1000000, but is 0'],
  [{ temperature: '1' }, 'temperature: must be a number from 0 to 2, but is "1"'],
  [{ top_k: 1.5 }, 'top_k: must be a whole number'],
  [{ temperature: Number.NaN }, 'temperature'],
  [{ stop: ['a', ''] }, 'stop: must be a text or up to 16'],
  [{ model: 'other' }, "model: 'demo' is loaded, not 'other'"],
  [{ n: 2 }, 'n: one answer at a time, not 2'],
  [{ logit_bias: {} }, 'logit_bias: answers made in the browser do not know this parameter'],
])('%j is refused by name', (params, message) => {
  expect(() => parse(params)).toThrow(TypeError);
  expect(() => parse(params)).toThrow(message);
});

test('an adapter is named in a field of its own or behind the model', () => {
  expect(parse({ adapter: 'poems' }).options).toEqual({ adapter: 'poems' });
  expect(parse({ model: 'demo:poems' }).options).toEqual({ adapter: 'poems' });
  expect(parse({ model: 'demo:poems', adapter: 'poems' }).options).toEqual({ adapter: 'poems' });
  expect(parse({ model: 'demo', adapter: null }).options).toEqual({});
  for (const [params, message] of [
    [{ model: 'demo:poems', adapter: 'prose' }, "adapter: model names the adapter 'poems'"],
    [{ model: 'demo:' }, 'model: must be the name of an adapter'],
    [{ adapter: 7 }, 'adapter: must be the name of an adapter, of 1 to 64 characters, but is 7'],
    [{ adapter: 'x'.repeat(65) }, 'adapter: must be'],
    [{ model: 'other:poems' }, "model: 'demo' is loaded, not 'other:poems'"],
  ] as const) {
    expect(() => parse(params)).toThrow(message);
  }
});
