import { beforeEach, expect, test, vi } from 'vitest';

import type { AnswerEnd, AnswerHandlers, Backend } from '../../../page/backend';
import type { Channel, Notice } from '../../../page/chats/channel';
import { Library } from '../../../page/chats/library';
import { MemoryHistory } from '../../../page/history';
import type { AnswerStats } from '../../../shared/protocol';

const STATS: AnswerStats = {
  device: 'wasm',
  promptTokens: 1,
  cachedTokens: 0,
  tokens: 2,
  firstTokenMs: 3,
  tokensPerSecond: null,
};
const DONE: AnswerEnd = { reason: 'stop', stats: STATS, ids: null };

/** Answers in the test's hands, the last one first. */
class HeldBackend implements Backend {
  readonly held: { handlers: AnswerHandlers; end: (end: AnswerEnd) => void }[] = [];

  chat(
    _: unknown,
    __: object,
    handlers: AnswerHandlers,
    { signal }: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    return new Promise((resolve) => {
      this.held.unshift({ handlers, end: resolve });
      signal.addEventListener('abort', () => {
        resolve({ ...DONE, reason: 'cancelled' });
      });
    });
  }
}

/** Channels that hear each other at once, as tabs of one browser. */
class Browser {
  readonly history = new MemoryHistory();
  readonly #listeners: { owner: object; onNotice: (notice: Notice) => void }[] = [];

  tab(backend = new HeldBackend()) {
    const owner = {};
    const channel: Channel = {
      send: (notice) => {
        for (const other of this.#listeners) if (other.owner !== owner) other.onNotice(notice);
      },
      listen: (onNotice) => {
        this.#listeners.push({ owner, onNotice });
      },
    };
    const source = {
      ready: () => Promise.resolve(backend),
      replace: () => Promise.resolve(null),
    };
    const settings = () => ({ systemPrompt: '', options: {} });
    return { backend, library: new Library(source, settings, this.history, channel) };
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  return () => vi.useRealTimers();
});

/** Lets promises settle and what is throttled happen. */
async function later() {
  await vi.advanceTimersByTimeAsync(2000);
}

function shown(library: Library): string[] {
  return library.current.value.entries.value.map(({ content }) => content.value);
}

function titles(library: Library): string[] {
  return library.chats.value.map(({ title }) => title);
}

type Tab = ReturnType<Browser['tab']>;

async function ask({ library, backend }: Tab, question: string, answer: string) {
  library.current.value.send(question);
  await later();
  backend.held[0]!.handlers.onText(answer);
  backend.held[0]!.end(DONE);
  await later();
  return library.current.value.id;
}

test('a chat is in the list from its first question on', () => {
  const tab = new Browser().tab();
  expect(titles(tab.library)).toEqual([]);
  tab.library.current.value.send('What is WebGPU?');
  expect(titles(tab.library)).toEqual(['What is WebGPU?']);
});

test('chats come back, with their answers, titles and pins', async () => {
  const browser = new Browser();
  const tab = browser.tab();
  const first = await ask(tab, 'One?', 'Yes');
  tab.library.newChat();
  await ask(tab, 'Two?', 'No');
  tab.library.rename(first, '  Number one ');
  tab.library.pin(first, true);
  await later();
  const { library } = browser.tab();
  await library.load();
  expect(titles(library)).toEqual(['Number one', 'Two?']);
  expect(await library.open(first)).toBe(true);
  expect(shown(library)).toEqual(['One?', 'Yes']);
  expect(await library.open('gone')).toBe(false);
});

test('tokens are kept while they arrive', async () => {
  const browser = new Browser();
  const { library, backend } = browser.tab();
  library.current.value.send('Hi');
  await later();
  backend.held[0]!.handlers.onText('Hel');
  await later();
  const kept = await browser.history.messages(library.current.value.id);
  expect(kept.map(({ content, state }) => `${content} ${state}`)).toEqual([
    'Hi done',
    'Hel stopped',
  ]);
});

test('an answer goes on while another chat is open, and is kept', async () => {
  const browser = new Browser();
  const { library, backend } = browser.tab();
  library.current.value.send('Hi');
  await later();
  const { id } = library.current.value;
  library.newChat();
  expect(shown(library)).toEqual([]);
  expect(library.busyIds.value).toEqual(new Set([id]));
  backend.held[0]!.handlers.onText('Hello');
  backend.held[0]!.end(DONE);
  await later();
  expect(library.busyIds.value.size).toBe(0);
  await library.open(id);
  expect(shown(library)).toEqual(['Hi', 'Hello']);
});

test('a second empty chat is the first one', () => {
  const { library } = new Browser().tab();
  const { id } = library.current.value;
  library.newChat();
  expect(library.current.value.id).toBe(id);
});

test('a deleted chat is gone, and can be brought back', async () => {
  const browser = new Browser();
  const tab = browser.tab();
  const id = await ask(tab, 'One?', 'Yes');
  const record = await tab.library.remove(id);
  await later();
  expect(titles(tab.library)).toEqual([]);
  expect(shown(tab.library)).toEqual([]);
  expect(await browser.history.messages(id)).toEqual([]);
  expect(await tab.library.add([record!])).toBe(1);
  await tab.library.open(id);
  expect(shown(tab.library)).toEqual(['One?', 'Yes']);
});

test('a chat that is deleted in the middle of an answer stays deleted', async () => {
  const browser = new Browser();
  const { library, backend } = browser.tab();
  library.current.value.send('Hi');
  await later();
  backend.held[0]!.handlers.onText('Hel');
  await library.remove(library.current.value.id);
  backend.held[0]!.handlers.onText('lo');
  await later();
  expect(await browser.history.chats()).toEqual([]);
});

test('two tabs see each other’s chats and do not undo them', async () => {
  const browser = new Browser();
  const [one, two] = [browser.tab(), browser.tab()];
  one.library.current.value.send('From one');
  two.library.current.value.send('From two');
  await later();
  for (const { backend } of [one, two]) {
    backend.held[0]!.handlers.onText('Answer');
    backend.held[0]!.end(DONE);
  }
  await later();
  expect(titles(one.library).toSorted()).toEqual(['From one', 'From two']);
  expect(titles(two.library).toSorted()).toEqual(['From one', 'From two']);
  const { library } = browser.tab();
  await library.load();
  for (const { id } of library.chats.value) {
    await library.open(id);
    expect(shown(library)[1]).toBe('Answer');
  }
});

test('what two tabs say in the same chat is all kept', async () => {
  const browser = new Browser();
  const one = browser.tab();
  const id = await ask(one, 'Start', 'Started');
  const two = browser.tab();
  await two.library.load();
  await two.library.open(id);
  one.library.current.value.send('Left');
  two.library.current.value.send('Right');
  await later();
  for (const [at, { backend }] of [one, two].entries()) {
    backend.held[0]!.handlers.onText(`Answer ${at}`);
    backend.held[0]!.end(DONE);
  }
  await later();
  const contents = (await browser.history.messages(id)).map(({ content }) => content).toSorted();
  expect(contents).toEqual(['Answer 0', 'Answer 1', 'Left', 'Right', 'Start', 'Started']);
  expect(shown(one.library)).toEqual(['Start', 'Started', 'Left', 'Answer 0']);
  expect(shown(two.library)).toEqual(['Start', 'Started', 'Right', 'Answer 1']);
});

test('an answer that grows in one tab grows in the other, which does not write it', async () => {
  const browser = new Browser();
  const one = browser.tab();
  const id = await ask(one, 'Start', 'Started');
  const two = browser.tab();
  await two.library.load();
  await two.library.open(id);
  one.library.current.value.send('More');
  await later();
  one.backend.held[0]!.handlers.onText('Grow');
  await later();
  expect(shown(two.library)).toEqual(['Start', 'Started', 'More', 'Grow']);
  const save = vi.spyOn(browser.history, 'save');
  one.backend.held[0]!.handlers.onText('ing');
  one.backend.held[0]!.end(DONE);
  await later();
  expect(shown(two.library).at(-1)).toBe('Growing');
  expect(save.mock.calls.length).toBeLessThanOrEqual(2);
});

test('a chat that another tab deletes leaves this one', async () => {
  const browser = new Browser();
  const one = browser.tab();
  const id = await ask(one, 'Start', 'Started');
  const two = browser.tab();
  await two.library.load();
  await two.library.open(id);
  await one.library.remove(id);
  await later();
  expect(shown(two.library)).toEqual([]);
  expect(titles(two.library)).toEqual([]);
});

test('importing twice adds once, and never changes what is here', async () => {
  const browser = new Browser();
  const tab = browser.tab();
  const id = await ask(tab, 'One?', 'Yes');
  const record = (await tab.library.record(id))!;
  const forged = { ...record.messages[1]!, content: 'No' };
  const extra = { ...record.messages[1]!, id: 'extra', content: 'Perhaps' };
  const file = {
    info: { ...record.info, title: 'Other' },
    messages: [record.messages[0]!, forged, extra],
  };
  expect(await tab.library.add([file])).toBe(0);
  expect(await tab.library.add([file])).toBe(0);
  expect(titles(tab.library)).toEqual(['One?']);
  const contents = (await browser.history.messages(id)).map(({ content }) => content).toSorted();
  expect(contents).toEqual(['One?', 'Perhaps', 'Yes']);
});

test('a save that fails is made up for by the next', async () => {
  const browser = new Browser();
  const tab = browser.tab();
  vi.spyOn(browser.history, 'save').mockRejectedValueOnce(new Error('full'));
  const id = await ask(tab, 'One?', 'Yes');
  expect(await browser.history.messages(id)).toHaveLength(2);
});

test('the list is searched in titles and messages', async () => {
  const tab = new Browser().tab();
  const id = await ask(tab, 'One?', 'A purring cat');
  expect(await tab.library.find('cat one')).toEqual(new Set([id]));
});
