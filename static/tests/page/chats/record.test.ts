import { expect, test } from 'vitest';

import { find, groupOf, inGroups, inListOrder, titleOf } from '../../../page/chats/record';
import { chat, message } from './samples';

test('a title is the first words of the question, in one line', () => {
  expect(titleOf('  What is\n\nWebGPU? ')).toBe('What is WebGPU?');
  expect(titleOf('# Sorting')).toBe('Sorting');
  const long = titleOf('word '.repeat(40));
  expect(long).toMatch(/word…$/);
  expect(long.length).toBeLessThanOrEqual(60);
  expect(titleOf('x'.repeat(200))).toHaveLength(60);
});

test('pinned chats come first, then those asked last', () => {
  const chats = [
    chat('old', { askedMs: 1 }),
    chat('new', { askedMs: 3 }),
    chat('pinned', { askedMs: 2, pinned: true }),
  ];
  expect(inListOrder(chats).map(({ id }) => id)).toEqual(['pinned', 'new', 'old']);
});

test('a chat is found by words of its title and its messages, in any case and order', () => {
  const chats = [chat('one', { title: 'Cats' }), chat('two', { title: 'Dogs' })];
  const messages = [message('one', 'a', { content: 'They PURR' }), message('gone', 'b')];
  expect(find('purr cat', chats, messages)).toEqual(new Set(['one']));
  expect(find('purr dog', chats, messages)).toEqual(new Set());
  expect(find(' ', chats, messages)).toEqual(new Set(['one', 'two']));
});

test('chats are grouped by the day they were asked', () => {
  const nowMs = new Date(2026, 10, 26, 0, 30).getTime();
  const at = (hoursAgo: number) =>
    groupOf(chat('c', { askedMs: nowMs - hoursAgo * 3600e3 }), nowMs);
  expect([at(0), at(1), at(5 * 24), at(8 * 24)]).toEqual(['today', 'week', 'week', 'older']);
  const pinned = chat('p', { pinned: true });
  const old = chat('o');
  expect([...inGroups([pinned, old], nowMs)]).toEqual([
    ['pinned', [pinned]],
    ['older', [old]],
  ]);
});
