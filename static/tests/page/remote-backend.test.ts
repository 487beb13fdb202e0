import { expect, test } from 'vitest';

import { RemoteBackend, fetchModelIds } from '../../page/remote-backend';

const QUESTION = [{ role: 'user', content: 'Hi' }] as const;
const HELLO = [
  'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n',
  'data: {"choices":[{"delta":{"content":"Hé"}}]}\n\n',
  ': keepalive\n\n',
  'data: {"choices":[{"delta":{"content":"llo"},"finish_reason":"length"}]}\n\n',
  'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}\n\n',
  'data: [DONE]\n\n',
];

function serving(body: BodyInit | null, status = 200) {
  const asked: RequestInit[] = [];
  const fetchUrl = (_: unknown, init?: RequestInit) => {
    asked.push(init ?? {});
    return Promise.resolve(new Response(body, { status }));
  };
  return { asked, fetchUrl: fetchUrl as typeof fetch };
}

async function chat(fetchUrl: typeof fetch, signal = new AbortController().signal) {
  let text = '';
  const handlers = {
    onReading: () => {},
    onMoved: () => {},
    onText: (piece: string) => {
      text += piece;
    },
  };
  const end = await new RemoteBackend('tiny', fetchUrl).chat(QUESTION, {}, handlers, { signal });
  return { text, end };
}

test('an answer is streamed, and ends with its reason and counts', async () => {
  const { text, end } = await chat(serving(HELLO.join('')).fetchUrl);
  expect(text).toBe('Héllo');
  expect(end.reason).toBe('length');
  expect(end.stats).toMatchObject({
    device: 'server',
    promptTokens: 3,
    cachedTokens: 1,
    tokens: 2,
  });
});

test('calls come through, and tools and results are written as the API wants them', async () => {
  const { asked, fetchUrl } = serving(
    [
      'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}]}\n\n',
      'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}\n\n',
      'data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n',
    ].join(''),
  );
  const pieces: unknown[] = [];
  const handlers = {
    ...{ onReading: () => {}, onMoved: () => {}, onText: () => {} },
    onCall: (piece: unknown) => pieces.push(piece),
  };
  const call = { id: 'a', name: 'f', arguments: '{"x": 1}' };
  const { reason } = await new RemoteBackend('tiny', fetchUrl).chat(
    [
      ...QUESTION,
      { role: 'assistant', content: '', toolCalls: [call] },
      { role: 'tool', content: '2', toolCallId: 'a' },
    ],
    {
      tools: [{ name: 'f', description: 'd', parameters: '{"type":"object"}' }],
      toolChoice: { name: 'f' },
      answerFormat: { schema: '{"type":"null"}' },
    },
    handlers,
    { signal: new AbortController().signal },
  );
  expect(reason).toBe('tool_calls');
  expect(pieces).toEqual([
    { type: 'call', index: 0, callId: 'c', name: 'f' },
    { type: 'arguments', index: 0, text: '{}' },
  ]);
  expect(JSON.parse(asked[0]!.body as string)).toMatchObject({
    messages: [
      QUESTION[0],
      {
        role: 'assistant',
        tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"x": 1}' } }],
      },
      { role: 'tool', content: '2', tool_call_id: 'a' },
    ],
    tools: [
      {
        type: 'function',
        function: { name: 'f', description: 'd', parameters: { type: 'object' } },
      },
    ],
    tool_choice: { type: 'function', function: { name: 'f' } },
    parallel_tool_calls: true,
    response_format: { type: 'json_schema', json_schema: { schema: { type: 'null' } } },
  });
});

test('bytes may be split anywhere', async () => {
  const bytes = new TextEncoder().encode(HELLO.join(''));
  for (let i = 0; i < bytes.length; i++) {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes.slice(0, i));
        controller.enqueue(bytes.slice(i));
        controller.close();
      },
    });
    expect((await chat(serving(stream).fetchUrl)).text).toBe('Héllo');
  }
});

test('the request asks for a stream with usage', async () => {
  const { asked, fetchUrl } = serving(HELLO.join(''));
  await chat(fetchUrl);
  expect(JSON.parse(asked[0]?.body as string)).toEqual({
    model: 'tiny',
    messages: QUESTION,
    stream: true,
    stream_options: { include_usage: true },
  });
});

test('what is set for the answer goes along, in the words of the API', async () => {
  const { asked, fetchUrl } = serving(HELLO.join(''));
  const handlers = { onReading: () => {}, onMoved: () => {}, onText: () => {} };
  const { signal } = new AbortController();
  const options = { maxTokens: 5, temperature: 0, topP: 0.9, topK: 0, seed: 7, stop: ['.'] };
  await new RemoteBackend('tiny', fetchUrl).chat(QUESTION, options, handlers, { signal });
  expect(JSON.parse(asked[0]?.body as string)).toMatchObject({
    ...{ max_tokens: 5, temperature: 0, top_p: 0.9, top_k: 0, seed: 7 },
    stop: ['.'],
  });
});

test('a refusal is told in the server’s words', async () => {
  const body = JSON.stringify({ error: { message: '9 > 8', code: 'context_length_exceeded' } });
  await expect(chat(serving(body, 400).fetchUrl)).rejects.toMatchObject({
    kind: 'context',
    message: '9 > 8',
  });
});

test('a refusal without words has its status', async () => {
  await expect(chat(serving('<html>', 502).fetchUrl)).rejects.toMatchObject({
    kind: 'server',
    message: 'the server answered 502',
  });
});

test('an error in the stream ends the answer', async () => {
  const body = 'data: {"error":{"message":"worker died","code":null}}\n\n';
  await expect(chat(serving(body).fetchUrl)).rejects.toMatchObject({
    kind: 'server',
    message: 'worker died',
  });
});

test('a stream that ends without [DONE] broke off', async () => {
  await expect(chat(serving(HELLO[1]!).fetchUrl)).rejects.toMatchObject({ kind: 'network' });
});

test('aborting ends the answer as cancelled', async () => {
  const controller = new AbortController();
  const fetchUrl = (() => {
    controller.abort();
    return Promise.reject(new DOMException('aborted', 'AbortError'));
  }) as typeof fetch;
  expect((await chat(fetchUrl, controller.signal)).end.reason).toBe('cancelled');
});

test('the models come in the server’s order', async () => {
  const { fetchUrl } = serving('{"data":[{"id":"b"},{"id":"a"}]}');
  expect(await fetchModelIds(fetchUrl)).toEqual(['b', 'a']);
});

test('an answer that cannot be read is the server’s fault', async () => {
  await expect(chat(serving('data: {broken\n\n').fetchUrl)).rejects.toMatchObject({
    kind: 'server',
  });
  await expect(fetchModelIds(serving('<html>').fetchUrl)).rejects.toMatchObject({ kind: 'server' });
});

test('the speed is what the server measured, and nothing without', async () => {
  const timed = HELLO.join('').replace('"usage"', '"timings":{"tokens_per_second":7},"usage"');
  expect((await chat(serving(timed).fetchUrl)).end.stats.tokensPerSecond).toBe(7);
  expect((await chat(serving(HELLO.join('')).fetchUrl)).end.stats.tokensPerSecond).toBeNull();
});
