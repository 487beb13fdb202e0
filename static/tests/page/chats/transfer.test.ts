import { expect, test } from 'vitest';

import {
  ImportError,
  fileNameOf,
  parseChats,
  toJson,
  toMarkdown,
} from '../../../page/chats/transfer';
import { chat, message } from './samples';
import type { AnswerStats } from '../../../shared/protocol';

const STATS: AnswerStats = {
  device: 'wasm',
  promptTokens: 1,
  cachedTokens: 0,
  tokens: 2,
  firstTokenMs: 3,
  tokensPerSecond: null,
};
const RECORD = {
  info: chat('one', { title: 'Cats & dogs', chosen: { '': 'a', a: 'c' } }),
  messages: [
    message('one', 'a', { content: 'Cats?' }),
    message('one', 'b', { parentId: 'a', role: 'assistant', content: 'No', madeMs: 2 }),
    message('one', 'c', {
      parentId: 'a',
      role: 'assistant',
      content: '**Yes**',
      stats: STATS,
      madeMs: 3,
    }),
    message('one', 'd', {
      ...{ parentId: 'c', role: 'user', content: 'Dogs?', madeMs: 4 },
    }),
    message('one', 'e', {
      ...{ parentId: 'd', role: 'assistant', content: '', state: 'failed', madeMs: 5 },
      error: { kind: 'context', message: '9 > 8' },
    }),
  ],
};

test('what was exported comes back the same', () => {
  expect(parseChats(toJson([RECORD]))).toEqual([RECORD]);
  expect(parseChats(toJson([]))).toEqual([]);
});

test('Markdown tells the shown way', () => {
  const shown = toMarkdown(RECORD, { user: 'You', assistant: 'localphi' });
  expect(shown.slice(0, 60)).toBe(
    '# Cats & dogs\n\n## You\n\nCats?\n\n## localphi\n\n**Yes**\n\n## You\n\n',
  );
  expect(shown).not.toContain('No');
});

test('files have names that every system takes', () => {
  expect(fileNameOf('What is "WebGPU"? ../x')).toBe('what-is-webgpu-x');
  expect(fileNameOf('Größe 你好')).toBe('größe-你好');
  expect(fileNameOf('???')).toBe('chat');
});

/** The exported record after something was done to it. */
function spoilt(
  spoil: (chat: Record<string, unknown>, messages: Record<string, unknown>[]) => void,
) {
  const file = JSON.parse(toJson([RECORD])) as {
    chats: (Record<string, unknown> & { messages: Record<string, unknown>[] })[];
  };
  spoil(file.chats[0]!, file.chats[0]!.messages);
  return JSON.stringify(file);
}

test.each([
  ['no JSON', '{', 'the file is not JSON'],
  ['a list', '[]', 'the file should be an object, but is []'],
  ['another file', '{"model":1}', 'format should be "localphi-chats", but is missing'],
  ['a later version', '{"format":"localphi-chats","version":2}', 'version should be 1, but is 2'],
  ['no chats', '{"format":"localphi-chats","version":1}', 'chats should be a list, but is missing'],
  [
    'no title',
    spoilt((one) => delete one['title']),
    'chats[0].title should be a string, but is missing',
  ],
  [
    'no messages',
    spoilt((one) => (one['messages'] = [])),
    'chats[0].messages should be at least one',
  ],
  [
    'a strange role',
    spoilt((_, messages) => (messages[2]!['role'] = 'robot')),
    'chats[0].messages[2].role should be "user" or "assistant", but is "robot"',
  ],
  [
    'an answer without a question',
    spoilt((_, messages) => (messages[0]!['role'] = 'assistant')),
    'chats[0].messages[0].role should be "user", but is "assistant"',
  ],
  [
    'a strange state',
    spoilt((_, messages) => (messages[0]!['state'] = 'open')),
    'chats[0].messages[0].state should be "done" or',
  ],
  [
    'a parent that is not there',
    spoilt((_, messages) => (messages[3]!['parentId'] = 'x')),
    'chats[0].messages[3].parentId should be the id of an earlier message, but is "x"',
  ],
  [
    'a circle',
    spoilt((_, messages) => (messages[0]!['parentId'] = 'a')),
    'chats[0].messages[0].parentId should be the id of an earlier message',
  ],
  [
    'an id twice',
    spoilt((_, messages) => (messages[1]!['id'] = 'a')),
    'chats[0].messages[1].id should be an id of its own, but is "a"',
  ],
  [
    'text that is none',
    spoilt((_, messages) => (messages[0]!['content'] = { html: 1 })),
    'chats[0].messages[0].content should be a string, but is {"html":1}',
  ],
  [
    'a time that is none',
    spoilt((one) => (one['askedMs'] = 'now')),
    'chats[0].askedMs should be a number, but is "now"',
  ],
])('a file with %s is refused with its reason', (_, text, reason) => {
  expect(() => parseChats(text)).toThrow(ImportError);
  expect(() => parseChats(text)).toThrow(reason);
});

test('what is not known of a file is left behind', () => {
  const text = spoilt((one, messages) => {
    one['evil'] = 1;
    messages[0]!['__proto__'] = { x: 1 };
  });
  expect(parseChats(text)).toEqual([RECORD]);
});
