import { expect, test, vi } from 'vitest';

import type { AnswerEnd, AnswerHandlers, Backend } from '../../page/backend';
import { Conversation } from '../../page/conversation';
import type { BackendSource } from '../../page/steady-answer';
import { LocalphiError } from '../../shared/errors';
import type { AnswerStats, Message } from '../../shared/protocol';

const STATS: AnswerStats = {
  device: 'wasm',
  promptTokens: 1,
  cachedTokens: 0,
  tokens: 1,
  firstTokenMs: 1,
  tokensPerSecond: null,
};
const DONE: AnswerEnd = { reason: 'stop', stats: STATS, ids: null };

/** A backend whose answers are in the test's hands. */
class HeldBackend implements Backend {
  readonly asked: (readonly Message[])[] = [];
  options: object = {};
  handlers!: AnswerHandlers;
  end!: (end: AnswerEnd) => void;
  fail!: (error: Error) => void;

  chat(
    messages: readonly Message[],
    options: object,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    this.asked.push(messages);
    this.options = options;
    this.handlers = handlers;
    return new Promise((resolve, reject) => {
      this.end = resolve;
      this.fail = reject;
      signal.addEventListener('abort', () => {
        resolve({ ...DONE, reason: 'cancelled' });
      });
    });
  }
}

function sourceOf(...backends: Backend[]): BackendSource {
  return {
    ready: () => Promise.resolve(backends[0]!),
    replace: () => {
      const more = backends.length > 1;
      if (more) backends.shift();
      return Promise.resolve(more ? 'server' : null);
    },
  };
}

/** Lets promises settle. */
const settle = () => new Promise((resolve) => setTimeout(resolve));

function shown(conversation: Conversation): string[] {
  return conversation.entries.value.map(({ role, content, status }) =>
    [role, content.value, status.value.state].join(' '),
  );
}

async function asking(text = 'Hi') {
  const backend = new HeldBackend();
  const conversation = new Conversation(sourceOf(backend));
  conversation.send(text);
  await settle();
  return { backend, conversation };
}

test('a question gets an answer, piece by piece', async () => {
  const { backend, conversation } = await asking();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant  waiting']);
  backend.handlers.onText('Hel');
  backend.handlers.onText('lo');
  expect(shown(conversation)[1]).toBe('assistant Hello streaming');
  backend.end(DONE);
  await settle();
  expect(shown(conversation)[1]).toBe('assistant Hello done');
  expect(conversation.busy.value).toBe(false);
});

test('the next question goes with what was said before', async () => {
  const { backend, conversation } = await asking();
  backend.handlers.onText('Hello');
  backend.end(DONE);
  await settle();
  conversation.send('More');
  await settle();
  expect(backend.asked[1]?.map(({ content }) => content)).toEqual(['Hi', 'Hello', 'More']);
});

test('blank questions, and those that interrupt, are not sent', async () => {
  const { conversation } = await asking();
  expect(conversation.send('Again')).toBe(false);
  expect(new Conversation(sourceOf(new HeldBackend())).send('  ')).toBe(false);
});

test('stopping keeps the text so far', async () => {
  const { backend, conversation } = await asking();
  backend.handlers.onText('Hel');
  conversation.stop();
  await settle();
  expect(shown(conversation)[1]).toBe('assistant Hel stopped');
});

test('stopping works before any device is ready', async () => {
  const conversation = new Conversation({
    ready: () => new Promise(() => {}),
    replace: () => Promise.resolve(null),
  });
  conversation.send('Hi');
  conversation.stop();
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant  stopped']);
});

test('an error keeps the question, and trying again makes the answer anew in its place', async () => {
  const { backend, conversation } = await asking();
  backend.handlers.onText('Hal');
  backend.fail(new LocalphiError('server', 'busy'));
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant Hal failed']);
  conversation.retry(conversation.entries.value[1]!);
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant  waiting']);
  expect(conversation.messages.value).toHaveLength(2);
  expect(backend.asked).toHaveLength(2);
});

test('when the next backend answers otherwise, the answer is taken back and told', async () => {
  const [browser, server] = [new HeldBackend(), new HeldBackend()];
  const conversation = new Conversation(sourceOf(browser, server));
  conversation.send('Hi');
  await settle();
  browser.handlers.onText('Hal');
  browser.fail(new LocalphiError('device', 'lost'));
  await settle();
  server.handlers.onText('Hello');
  server.end(DONE);
  await settle();
  expect(shown(conversation)[1]).toBe('assistant Hello done');
  expect(conversation.entries.value[1]?.move.value).toEqual({ device: 'server', restarted: true });
});

/** A conversation with one whole exchange. */
async function answered(text = 'Hi', answer = 'Hello') {
  const { backend, conversation } = await asking(text);
  backend.handlers.onText(answer);
  backend.end(DONE);
  await settle();
  return { backend, conversation };
}

test('an answer that waited for a device that another chat lost goes on elsewhere', async () => {
  const [browser, server] = [new HeldBackend(), new HeldBackend()];
  let backend: Backend = browser;
  const conversation = new Conversation({
    ready: () => Promise.resolve(backend),
    replace: (lost) => Promise.resolve(lost === backend ? null : 'server'),
  });
  conversation.send('Hi');
  await settle();
  backend = server;
  browser.fail(new LocalphiError('worker', 'closed'));
  await settle();
  server.handlers.onText('Hello');
  server.end(DONE);
  await settle();
  expect(shown(conversation)[1]).toBe('assistant Hello done');
});

test('an edited question leaves the old one and what followed as an alternative', async () => {
  const { backend, conversation } = await answered();
  conversation.send('More');
  await settle();
  backend.end(DONE);
  await settle();
  const [first] = conversation.entries.value;
  expect(conversation.edit(first!, ' Bye ')).toBe(true);
  await settle();
  expect(shown(conversation)).toEqual(['user Bye done', 'assistant  waiting']);
  expect(backend.asked.at(-1)).toEqual([{ role: 'user', content: 'Bye' }]);
  const edited = conversation.entries.value[0]!;
  expect(conversation.alternatives(edited)).toEqual([first, edited]);
  conversation.show(first!);
  expect(shown(conversation)).toHaveLength(4);
  expect(shown(conversation)[2]).toBe('user More done');
});

test('a question that was not changed, blank, or edited meanwhile is not asked', async () => {
  const { conversation } = await answered();
  const [first] = conversation.entries.value;
  expect(conversation.edit(first!, 'Hi')).toBe(false);
  expect(conversation.edit(first!, ' ')).toBe(false);
  conversation.send('More');
  expect(conversation.edit(first!, 'Bye')).toBe(false);
});

test('a regenerated answer leaves the old one as an alternative', async () => {
  const { backend, conversation } = await answered();
  const old = conversation.entries.value[1]!;
  conversation.regenerate(old);
  await settle();
  backend.handlers.onText('Good day');
  backend.end(DONE);
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant Good day done']);
  expect(backend.asked[1]).toEqual([{ role: 'user', content: 'Hi' }]);
  const next = conversation.entries.value[1]!;
  expect(conversation.alternatives(old)).toEqual([old, next]);
  conversation.show(old);
  conversation.send('More');
  await settle();
  expect(backend.asked[2]?.map(({ content }) => content)).toEqual(['Hi', 'Hello', 'More']);
});

test('the settings of the moment go with a question', async () => {
  const backend = new HeldBackend();
  let systemPrompt = 'Be brief.';
  const conversation = new Conversation(sourceOf(backend), 'c', () => ({
    systemPrompt,
    options: { temperature: 0.5 },
  }));
  conversation.send('Hi');
  await settle();
  expect(backend.asked[0]?.[0]).toEqual({ role: 'system', content: 'Be brief.' });
  expect(backend.options).toEqual({ temperature: 0.5 });
  backend.end(DONE);
  await settle();
  systemPrompt = '';
  conversation.send('More');
  await settle();
  expect(backend.asked[1]?.map(({ role }) => role)).toEqual(['user', 'user']);
});

test('a question that did not fit is left out of later prompts', async () => {
  const { backend, conversation } = await asking();
  backend.fail(new LocalphiError('context', 'too long'));
  await settle();
  conversation.send('Short');
  await settle();
  expect(backend.asked.at(-1)).toEqual([{ role: 'user', content: 'Short' }]);
});

test('what is kept comes back, an answer in the making as stopped', async () => {
  const { backend, conversation } = await asking();
  backend.handlers.onText('Hel');
  const restored = new Conversation(sourceOf(backend), conversation.id);
  restored.restore(conversation.messages.value, conversation.chosen.value);
  expect(shown(restored)).toEqual(['user Hi done', 'assistant Hel stopped']);
  expect(restored.messages.value).toEqual(conversation.messages.value);
});

test('what is kept is plain data, and the same object until it changes', async () => {
  const { backend, conversation } = await asking();
  const before = conversation.messages.value;
  backend.fail(new LocalphiError('server', 'busy'));
  await settle();
  const messages = conversation.messages.value;
  expect(structuredClone(messages)).toEqual(messages);
  expect(messages[0]).toBe(before[0]);
  expect(messages[1]).not.toBe(before[1]);
});

test('what another tab said is taken over, an answer in the making stays', async () => {
  const { backend, conversation } = await asking();
  backend.handlers.onText('Hel');
  const [question, answer] = conversation.messages.value;
  const other = { ...question!, id: 'other', content: 'Hey', madeMs: question!.madeMs + 1 };
  conversation.restore([{ ...answer!, content: '' }, other], conversation.chosen.value);
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant Hel streaming']);
  expect(conversation.alternatives(conversation.entries.value[0]!)).toHaveLength(2);
});

test('reading a long chat shows how far it is', async () => {
  const { backend, conversation } = await asking();
  const seen = vi.fn();
  conversation.entries.value[1]!.status.subscribe(seen);
  backend.handlers.onReading(256, 512);
  expect(seen).toHaveBeenLastCalledWith({ state: 'waiting', readShare: 0.5 });
});
