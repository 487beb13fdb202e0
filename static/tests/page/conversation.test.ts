import { expect, test, vi } from 'vitest';

import type { AnswerEnd, AnswerHandlers, Backend } from '../../page/backend';
import { Conversation } from '../../page/conversation';
import type { BackendSource } from '../../page/conversation';
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
  handlers!: AnswerHandlers;
  end!: (end: AnswerEnd) => void;
  fail!: (error: Error) => void;

  chat(
    messages: readonly Message[],
    _: object,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    this.asked.push(messages);
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
    fallBack: () => {
      const more = backends.length > 1;
      if (more) backends.shift();
      return Promise.resolve(more);
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
    fallBack: () => Promise.resolve(false),
  });
  conversation.send('Hi');
  conversation.stop();
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant  stopped']);
});

test('an error keeps the question, and trying again asks it again', async () => {
  const { backend, conversation } = await asking();
  backend.fail(new LocalphiError('server', 'busy'));
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant  failed']);
  conversation.retry();
  await settle();
  expect(shown(conversation)).toEqual(['user Hi done', 'assistant  waiting']);
  expect(backend.asked).toHaveLength(2);
});

test('when the device gives up, the next backend answers from the start', async () => {
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

test('a new chat can be undone until a second question is asked in it', async () => {
  const { backend, conversation } = await asking();
  backend.end(DONE);
  await settle();
  conversation.newChat();
  expect(shown(conversation)).toEqual([]);
  conversation.undo();
  expect(shown(conversation)).toHaveLength(2);
  conversation.newChat();
  conversation.send('Other');
  await settle();
  expect(conversation.canUndo.value).toBe(true);
  backend.end(DONE);
  await settle();
  conversation.send('Another');
  expect(conversation.canUndo.value).toBe(false);
});

test('a question that did not fit is left out of later prompts', async () => {
  const { backend, conversation } = await asking();
  backend.fail(new LocalphiError('context', 'too long'));
  await settle();
  conversation.send('Short');
  await settle();
  expect(backend.asked.at(-1)).toEqual([{ role: 'user', content: 'Short' }]);
});

test('a new chat may be started in the middle of an answer', async () => {
  const { conversation } = await asking();
  conversation.newChat();
  expect(conversation.busy.value).toBe(false);
  expect(conversation.send('Other')).toBe(true);
});

test('what is kept comes back, an answer in the making as stopped', async () => {
  const { backend, conversation } = await asking();
  backend.handlers.onText('Hel');
  const restored = new Conversation(sourceOf(backend));
  restored.restore(conversation.snapshot.value);
  expect(shown(restored)).toEqual(['user Hi done', 'assistant Hel stopped']);
});

test('a snapshot is plain data', async () => {
  const { backend, conversation } = await asking();
  backend.fail(new LocalphiError('server', 'busy'));
  await settle();
  const snapshot = conversation.snapshot.value;
  expect(structuredClone(snapshot)).toEqual(snapshot);
});

test('reading a long chat shows how far it is', async () => {
  const { backend, conversation } = await asking();
  const seen = vi.fn();
  conversation.entries.value[1]!.status.subscribe(seen);
  backend.handlers.onReading(256, 512);
  expect(seen).toHaveBeenLastCalledWith({ state: 'waiting', readShare: 0.5 });
});
