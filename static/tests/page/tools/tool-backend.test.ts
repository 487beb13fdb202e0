import { expect, test } from 'vitest';

import type { AnswerEnd, AnswerHandlers, Backend } from '../../../page/backend';
import { Conversation } from '../../../page/conversation';
import { parseChats, toJson } from '../../../page/chats/transfer';
import type { ToolRun } from '../../../page/tools/run';
import type { PageTool } from '../../../page/tools/tool';
import type { AnswerStats, ChatOptions, Message } from '../../../shared/protocol';

const STATS: AnswerStats = {
  ...{ device: 'wasm', promptTokens: 1, cachedTokens: 0, tokens: 1 },
  ...{ firstTokenMs: 1, tokensPerSecond: null },
};

/** Calls the calculator in each of its first answers, then says what it was told. */
class Calling implements Backend {
  readonly asked: { messages: readonly Message[]; options: ChatOptions }[] = [];
  readonly #expressions: string[];

  constructor(...expressions: string[]) {
    this.#expressions = expressions;
  }

  chat(messages: readonly Message[], options: ChatOptions, handlers: AnswerHandlers) {
    this.asked.push({ messages, options });
    const expression = options.toolChoice === 'auto' ? this.#expressions.shift() : undefined;
    if (expression === undefined) {
      handlers.onText(`It is ${messages.at(-1)!.content}.`);
      return Promise.resolve<AnswerEnd>({ reason: 'stop', stats: STATS, ids: null });
    }
    handlers.onCall?.({ type: 'call', index: 0, callId: 'c', name: 'calculate' });
    const text = JSON.stringify({ expression });
    handlers.onCall?.({ type: 'arguments', index: 0, text });
    return Promise.resolve<AnswerEnd>({ reason: 'tool_calls', stats: STATS, ids: null });
  }
}

const settle = () => new Promise((resolve) => setTimeout(resolve));

function chatWith(backend: Backend, tools = true) {
  const source = { ready: () => Promise.resolve(backend), replace: () => Promise.resolve(null) };
  const conversation = new Conversation(source, 'a', () => ({
    ...{ systemPrompt: '', options: {}, tools },
  }));
  conversation.send('6 * 7?');
  return conversation;
}

const lastOf = (conversation: Conversation) => conversation.entries.value.at(-1)!;
const runsOf = (conversation: Conversation): readonly ToolRun[] => lastOf(conversation).runs.value;

test('a tool runs once it is allowed, and the answer goes on with its result', async () => {
  const backend = new Calling('6 * 7');
  const conversation = chatWith(backend);
  await settle();
  const [run] = runsOf(conversation);
  expect(run!.now.value).toEqual({ state: 'asking', result: '' });
  expect(backend.asked).toHaveLength(1);
  expect(conversation.busy.value).toBe(true);
  run!.decide(true);
  await settle();
  expect(run!.now.value).toEqual({ state: 'done', result: '42' });
  expect(lastOf(conversation).content.value).toBe('It is 42.');
  expect(backend.asked[1]!.messages.slice(1)).toEqual([
    {
      ...{ role: 'assistant', content: '' },
      toolCalls: [{ id: 'c', name: 'calculate', arguments: '{"expression":"6 * 7"}' }],
    },
    { role: 'tool', content: '42', toolCallId: 'c' },
  ]);
  expect(backend.asked[0]!.options.tools!.map(({ name }) => name)).toEqual([
    ...['now', 'calculate', 'convert'],
  ]);
});

test('what is not allowed does not run, and the model is told', async () => {
  const conversation = chatWith(new Calling('6 * 7'));
  await settle();
  runsOf(conversation)[0]!.decide(false);
  await settle();
  expect(runsOf(conversation)[0]!.now.value.state).toBe('refused');
  expect(lastOf(conversation).content.value).toContain('did not allow');
});

test('an error is told to the model, which may call again, but not for ever', async () => {
  const backend = new Calling('1 / 0', '1', '2', '3', '4', '5');
  const conversation = chatWith(backend);
  for (let round = 0; round < 3; round++) {
    await settle();
    runsOf(conversation)[round]!.decide(true);
  }
  await settle();
  const states = runsOf(conversation).map(({ now }) => now.value.state);
  expect(states).toEqual(['failed', 'done', 'done']);
  expect(backend.asked.map(({ options }) => options.toolChoice)).toEqual([
    ...['auto', 'auto', 'auto', 'none'],
  ]);
  expect(lastOf(conversation).status.value.state).toBe('done');
});

test('stopping while it asks ends the answer', async () => {
  const conversation = chatWith(new Calling('6 * 7'));
  await settle();
  conversation.stop();
  await settle();
  expect(lastOf(conversation).status.value.state).toBe('stopped');
  expect(runsOf(conversation)[0]!.now.value.state).toBe('refused');
  expect(conversation.busy.value).toBe(false);
});

test('runs are kept, exported and brought back, and the next turn knows of them', async () => {
  const backend = new Calling('6 * 7');
  const conversation = chatWith(backend);
  await settle();
  runsOf(conversation)[0]!.decide(true);
  await settle();
  const info = { id: 'a', title: 't', pinned: false, madeMs: 1, askedMs: 1, chosen: {} };
  const [back] = parseChats(toJson([{ info, messages: conversation.messages.value }]));
  const again = new Conversation(
    { ready: () => Promise.resolve(backend), replace: () => Promise.resolve(null) },
    'a',
  );
  again.restore(back!.messages, {});
  expect(runsOf(again).map(({ stored }) => stored)).toEqual([
    {
      ...{ name: 'calculate', arguments: '{"expression":"6 * 7"}' },
      ...{ state: 'done', result: '42' },
    },
  ]);
  again.send('And?');
  await settle();
  expect(backend.asked.at(-1)!.messages.map(({ role }) => role)).toEqual([
    ...['user', 'assistant', 'tool', 'assistant', 'user'],
  ]);
});

test('without tools nothing is offered', async () => {
  const backend = new Calling();
  chatWith(backend, false);
  await settle();
  expect(backend.asked[0]!.options.tools).toBeUndefined();
});

test('a tool of the server is offered beside them, waited for, and left when the answer is stopped', async () => {
  let finish: (result: string) => void = () => {};
  const tool: PageTool = {
    ...{ name: 'docs-search', description: '', parameters: '{}' },
    run: (_, { signal }) =>
      new Promise((resolve, reject) => {
        finish = resolve;
        signal.addEventListener('abort', () => {
          reject(new Error('stopped'));
        });
      }),
  };
  const backend: Backend = {
    chat: (messages, options, handlers) => {
      const last = messages.at(-1)!;
      if (last.role === 'tool') {
        handlers.onText(last.content);
        return Promise.resolve<AnswerEnd>({ reason: 'stop', stats: STATS, ids: null });
      }
      expect(options.tools!.map(({ name }) => name)).toContain('docs-search');
      handlers.onCall?.({ type: 'call', index: 0, callId: 'c', name: 'docs-search' });
      handlers.onCall?.({ type: 'arguments', index: 0, text: '{}' });
      return Promise.resolve<AnswerEnd>({ reason: 'tool_calls', stats: STATS, ids: null });
    },
  };
  const source = { ready: () => Promise.resolve(backend), replace: () => Promise.resolve(null) };
  const conversation = new Conversation(source, 'a', () => ({
    ...{ systemPrompt: '', options: {}, tools: true },
    serverTools: () => Promise.resolve([tool]),
  }));
  conversation.send('Rent?');
  await settle();
  runsOf(conversation)[0]!.decide(true);
  await settle();
  expect(runsOf(conversation)[0]!.now.value.state).toBe('running');
  expect(runsOf(conversation)[0]!.stored).toBeNull();
  finish('In June.');
  await settle();
  expect(lastOf(conversation).content.value).toBe('In June.');

  conversation.send('And the car?');
  await settle();
  runsOf(conversation)[0]!.decide(true);
  await settle();
  conversation.stop();
  await settle();
  expect(runsOf(conversation)[0]!.now.value.state).toBe('failed');
  expect(conversation.busy.value).toBe(false);
});
