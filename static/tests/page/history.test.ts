import 'fake-indexeddb/auto';
import { openDB } from 'idb';
import { afterEach, expect, test, vi } from 'vitest';

import { MemoryHistory, openHistory } from '../../page/history';
import type { History } from '../../page/history';
import { chat, message } from './chats/samples';

const opened: History[] = [];

async function open(): Promise<History> {
  const history = await openHistory();
  opened.push(history);
  return history;
}

afterEach(async () => {
  for (const history of opened.splice(0)) {
    for (const { id } of await history.chats()) await history.remove(id);
  }
});

test.each(['IndexedDB', 'memory'])('%s keeps chats and their messages apart', async (kind) => {
  const history = kind === 'memory' ? new MemoryHistory() : await open();
  const [one, two] = [chat('one'), chat('two', { title: 'Second' })];
  await history.save(one, [message('one', 'a'), message('one', 'b', { parentId: 'a' })]);
  await history.save(two, [message('two', 'c', { content: 'A cat' })]);
  const here = kind === 'memory' ? history : await open();
  expect(await here.chats()).toEqual([one, two]);
  expect((await here.messages('one')).map(({ id }) => id)).toEqual(['a', 'b']);
  expect(await here.find('second CAT')).toEqual(new Set(['two']));
  await here.remove('one');
  expect(await here.chats()).toEqual([two]);
  expect(await here.messages('one')).toEqual([]);
  expect(await here.messages('two')).toHaveLength(1);
});

test('a message is written anew without touching the others', async () => {
  const history = await open();
  await history.save(chat('one'), [message('one', 'a'), message('one', 'b')]);
  await history.save(chat('one'), [message('one', 'b', { content: 'longer' })]);
  const contents = (await history.messages('one')).map(({ content }) => content);
  expect(contents).toEqual(['Hi', 'longer']);
});

test('the one chat of the first version is the first of many, whole', async () => {
  const stats = { device: 'wasm', promptTokens: 1, tokens: 2, firstTokenMs: 3, tokensPerSecond: 4 };
  const old = [
    { role: 'user', content: 'What is WebGPU?', state: 'done', stats: null, error: null },
    { role: 'assistant', content: 'A way', state: 'length', stats, error: null },
  ];
  await makeFirstVersion(old);
  const history = await openHistory();
  const [info, ...others] = await history.chats();
  expect(others).toEqual([]);
  expect(info).toMatchObject({ title: 'What is WebGPU?', pinned: false });
  const [question, answer] = [...(await history.messages(info!.id))].sort(
    (a, b) => a.madeMs - b.madeMs,
  );
  expect(question).toMatchObject({ ...old[0], parentId: null });
  expect(answer).toMatchObject({ ...old[1], parentId: question!.id });
  await history.remove(info!.id);
});

/** A database as version 1 left it, in a browser of its own. */
async function makeFirstVersion(entries: readonly object[]): Promise<void> {
  const { IDBFactory } = await import('fake-indexeddb');
  globalThis.indexedDB = new IDBFactory();
  const database = await openDB('localphi', 1, {
    upgrade: (created) => {
      created.createObjectStore('conversations');
    },
  });
  await database.put('conversations', entries, 'current');
  database.close();
}

test('an empty first version leaves no chat', async () => {
  await makeFirstVersion([]);
  const history = await openHistory();
  expect(history.lasting).toBe(true);
  expect(await history.chats()).toEqual([]);
});

test('where the browser refuses storage, the visit has a memory', async () => {
  const open = vi.spyOn(indexedDB, 'open').mockImplementation(() => {
    throw new DOMException('refused', 'SecurityError');
  });
  const history = await openHistory();
  await history.save(chat('one'), []);
  expect(await history.chats()).toHaveLength(1);
  expect(history.lasting).toBe(false);
  open.mockRestore();
});

test('a database that never answers does not keep the page waiting', async () => {
  vi.useFakeTimers();
  const open = vi.spyOn(indexedDB, 'open').mockReturnValue({
    addEventListener: () => {},
  } as unknown as IDBOpenDBRequest);
  const opening = openHistory();
  await vi.advanceTimersByTimeAsync(3000);
  expect((await opening).lasting).toBe(false);
  open.mockRestore();
  vi.useRealTimers();
});
