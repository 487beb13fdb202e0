import { expect, test } from 'vitest';

import { Turns } from '../../page/turns';

const NEVER = new AbortController().signal;

test('whoever came first is next, and nobody overtakes, not even who has just left', async () => {
  const turns = new Turns();
  const order: string[] = [];
  const talk = async (name: string, times: number) => {
    for (let i = 0; i < times; i++) {
      const turn = turns.enter(NEVER);
      if (turn) await turn;
      order.push(name);
      await Promise.resolve();
      turns.leave();
    }
  };
  await Promise.all([talk('a', 4), talk('b', 4), talk('c', 2)]);
  expect(order.join('')).toBe('abcabcabab');
});

test('who gives up waiting leaves the line, and the others go on', async () => {
  const turns = new Turns();
  const gone = new AbortController();
  expect(turns.enter(NEVER)).toBeNull();
  const second = turns.enter(gone.signal);
  const third = turns.enter(NEVER);
  gone.abort();
  await expect(second).rejects.toThrow('stopped');
  turns.leave();
  await third;
  gone.abort();
  turns.leave();
  expect(turns.enter(NEVER)).toBeNull();
});

test('who comes with an aborted signal does not get in line', async () => {
  const turns = new Turns();
  expect(turns.enter(NEVER)).toBeNull();
  await expect(turns.enter(AbortSignal.abort())).rejects.toThrow('stopped');
  turns.leave();
  expect(turns.enter(NEVER)).toBeNull();
});
