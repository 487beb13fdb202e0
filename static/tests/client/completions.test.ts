import { expect, test } from 'vitest';

import type { ChatCompletionChunk } from '../../client/api';
import { ChatCompletions } from '../../client/completions';
import type { AnswerEnd, AnswerHandlers, Backend } from '../../page/backend';
import { LocalphiError } from '../../shared/errors';

const MESSAGES = [{ role: 'user', content: 'Hello' }] as const;
const STATS: AnswerEnd['stats'] = {
  ...{ device: 'wasm' as const, promptTokens: 7, cachedTokens: 3, tokens: 2 },
  ...{ firstTokenMs: 5, tokensPerSecond: 100 },
};
const DONE: AnswerEnd = { reason: 'stop', stats: STATS, ids: null };

type Script = (handlers: AnswerHandlers, signal: AbortSignal) => Promise<AnswerEnd>;

/** Answers with the scripts in turn; the last one goes for all that follow. */
function completions(...scripts: Script[]): ChatCompletions {
  let at = -1;
  const backend: Backend = {
    chat: (_messages, _options, handlers, { signal }) => {
      at = Math.min(at + 1, scripts.length - 1);
      return scripts[at]!(handlers, signal);
    },
  };
  const replace = () => Promise.resolve(at + 1 < scripts.length ? ('server' as const) : null);
  return new ChatCompletions({ ready: () => Promise.resolve(backend), replace }, () => 'demo');
}

const says =
  (...texts: string[]): Script =>
  async (handlers) => {
    handlers.onReading(0, 7);
    for (const text of texts) {
      await Promise.resolve();
      handlers.onText(text);
    }
    return DONE;
  };

const untilCancelled: Script = (handlers, signal) => {
  handlers.onText('Hi');
  return new Promise((resolve) => {
    const end = () => {
      resolve({ ...DONE, reason: 'cancelled' });
    };
    if (signal.aborted) end();
    signal.addEventListener('abort', end);
  });
};

const fails =
  (kind: 'device' | 'context', text = ''): Script =>
  (handlers) => {
    if (text) handlers.onText(text);
    return Promise.reject(new LocalphiError(kind, 'it broke'));
  };

async function all(stream: AsyncIterable<ChatCompletionChunk>): Promise<ChatCompletionChunk[]> {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

test('a whole answer', async () => {
  const answer = await completions(says('He', 'llo')).create({ messages: MESSAGES });
  expect(answer).toMatchObject({
    object: 'chat.completion',
    model: 'demo',
    choices: [{ message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
    timings: { device: 'wasm', first_token_ms: 5, tokens_per_second: 100 },
  });
  expect(answer.usage.prompt_tokens_details.cached_tokens).toBe(3);
  expect(answer.id).toMatch(/^chatcmpl-/);
});

const CALLS: Script = async (handlers) => {
  handlers.onText('Let me see.');
  handlers.onCall?.({ type: 'call', index: 0, callId: 'call_0', name: 'f' });
  handlers.onCall?.({ type: 'arguments', index: 0, text: '{"a": ' });
  handlers.onCall?.({ type: 'arguments', index: 0, text: '1}' });
  await Promise.resolve();
  handlers.onCall?.({ type: 'call', index: 1, callId: 'call_1', name: 'g' });
  handlers.onCall?.({ type: 'arguments', index: 1, text: '{}' });
  return { ...DONE, reason: 'tool_calls' };
};

test('calls, whole and in chunks', async () => {
  const called = (id: string, name: string, text: string) => ({
    ...{ id, type: 'function' },
    function: { name, arguments: text },
  });
  const whole = await completions(CALLS).create({ messages: MESSAGES });
  expect(whole.choices[0]).toEqual({
    ...{ index: 0, finish_reason: 'tool_calls' },
    message: {
      ...{ role: 'assistant', content: 'Let me see.' },
      tool_calls: [called('call_0', 'f', '{"a": 1}'), called('call_1', 'g', '{}')],
    },
  });
  const chunks = await all(await completions(CALLS).create({ messages: MESSAGES, stream: true }));
  const deltas = chunks.map(({ choices }) => choices[0]!.delta);
  expect(deltas).toEqual([
    { role: 'assistant', content: '' },
    { content: 'Let me see.' },
    { tool_calls: [{ index: 0, ...called('call_0', 'f', '') }] },
    { tool_calls: [{ index: 0, function: { arguments: '{"a": 1}' } }] },
    { tool_calls: [{ index: 1, ...called('call_1', 'g', '') }] },
    { tool_calls: [{ index: 1, function: { arguments: '{}' } }] },
    {},
  ]);
  expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe('tool_calls');
});

test('a schema that the worker refuses is an error of the parameter', async () => {
  const refuses: Script = () => Promise.reject(new LocalphiError('request', "'tools' is odd"));
  const asked = completions(refuses).create({ messages: MESSAGES });
  await expect(asked).rejects.toThrow(new TypeError("'tools' is odd"));
});

test('an answer in chunks: the role, text, the reason, and the usage where it was asked for', async () => {
  const stream = await completions(says('He', 'llo')).create({
    ...{ messages: MESSAGES, stream: true, stream_options: { include_usage: true } },
  });
  const chunks = await all(stream);
  expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant');
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('Hello');
  expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 9 } });
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
});

test('a slow reader loses nothing', async () => {
  const stream = await completions(says('a', 'b', 'c')).create({
    messages: MESSAGES,
    stream: true,
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  const text = (await all(stream)).map(({ choices }) => choices[0]?.delta.content ?? '').join('');
  expect(text).toBe('abc');
});

test('what is refused rejects before the stream', async () => {
  const refused = completions(fails('context')).create({ messages: MESSAGES, stream: true });
  await expect(refused).rejects.toMatchObject({ kind: 'context' });
});

test('a backend that fails before the first word is replaced, once', async () => {
  const replaced = completions(fails('device'), says('ok')).create({ messages: MESSAGES });
  expect((await replaced).choices[0].message.content).toBe('ok');
  const lost = completions(fails('device'), fails('device')).create({ messages: MESSAGES });
  await expect(lost).rejects.toMatchObject({ kind: 'device' });
});

test('an answer that breaks off fails in the loop and does not begin again', async () => {
  const stream = await completions(fails('device', 'Hi'), says('again')).create({
    ...{ messages: MESSAGES, stream: true },
  });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { choices } of stream) seen.push(choices[0]?.delta.content ?? '');
  })();
  await expect(reading).rejects.toMatchObject({ kind: 'device' });
  expect(seen.join('')).toBe('Hi');
});

test('an answer that breaks off goes on where the next device says the same', async () => {
  const stream = await completions(fails('device', 'Hel'), says('He', 'llo')).create({
    ...{ messages: MESSAGES, stream: true },
  });
  const text = (await all(stream)).map(({ choices }) => choices[0]?.delta.content ?? '').join('');
  expect(text).toBe('Hello');
});

test('aborting ends a stream quietly, without a reason', async () => {
  const stop = new AbortController();
  const stream = await completions(untilCancelled).create(
    { messages: MESSAGES, stream: true },
    { signal: stop.signal },
  );
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    if (chunk.choices[0]?.delta.content === 'Hi') stop.abort();
  }
  expect(chunks.every(({ choices }) => choices[0]?.finish_reason === null)).toBe(true);
});

test('leaving the loop cancels the answer', async () => {
  let cancelled = false;
  const script: Script = async (handlers, signal) => {
    const end = await untilCancelled(handlers, signal);
    cancelled = true;
    return end;
  };
  const stream = await completions(script).create({ messages: MESSAGES, stream: true });
  for await (const { choices } of stream) if (choices[0]?.delta.content) break;
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(cancelled).toBe(true);
  expect(stream.controller.signal.aborted).toBe(true);
});

test('aborting a whole answer rejects with an AbortError, beforehand and on the way', async () => {
  const early = completions(says('x')).create(
    { messages: MESSAGES },
    { signal: AbortSignal.abort() },
  );
  await expect(early).rejects.toMatchObject({ name: 'AbortError' });
  const stop = new AbortController();
  const late = completions(untilCancelled).create({ messages: MESSAGES }, { signal: stop.signal });
  stop.abort();
  await expect(late).rejects.toMatchObject({ name: 'AbortError' });
});
