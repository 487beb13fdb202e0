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

test.each([
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
