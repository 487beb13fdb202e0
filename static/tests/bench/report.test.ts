import { expect, test } from 'vitest';

import { fitting } from '../../bench/plan';
import { median, report, toJsonLine, toMarkdown } from '../../bench/report';
import type { Measured } from '../../bench/report';
import { equalTokens } from '../../bench/server';

const answer = (tokensPerSecond: number, ids: readonly number[] = [1, 2, 3, 4]) => ({
  ...{ promptIds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], ids, cachedTokens: 2 },
  ...{ firstTokenMs: 100, tokensPerSecond },
});
const turn = (coldMs: number, secondMs: number) => ({
  ...{ coldTokens: 1000, coldMs, newTokens: 10, secondMs },
});
const MEASURED: Measured = {
  ...{ modelId: 'demo', device: 'wasm', tokens: 4, rounds: 3, coldMs: 900, warmMs: 300.5 },
  heapBytes: 25_000_000,
  cells: [
    { subject: 'localphi', context: 128, answers: [answer(30), answer(20), answer(10)] },
    { subject: 'other', context: 128, answers: [answer(10), answer(10), answer(10, [1, 2, 9, 4])] },
    { subject: 'localphi', context: 2048, answers: [answer(15), answer(18), answer(9)] },
  ],
  secondTurns: [turn(1000, 100), turn(2000, 100), turn(1000, 300)],
  server: { equal: 95, of: 100 },
};
const MACHINE = { browser: 'Chrome/156', cores: 2, adapter: null };
const MADE = report(MEASURED, MACHINE, '2026-11-26T10:00:00.000Z');

test('ratios are taken round by round, as a machine that slows down slows both', () => {
  expect(MADE.rows[1]).toMatchObject({ subject: 'other', decodePerSecond: 10, ratio: 2 });
  expect(MADE.rows[0]).toMatchObject({ decodePerSecond: 20, ratio: null, sameTokens: null });
  expect(MADE.longByShort).toBe(0.9);
  expect(MADE.secondTurnRatio).toBe(0.1);
});

test('tokens count as the same up to the first that is not', () => {
  expect(MADE.rows[1]?.sameTokens).toBeCloseTo(10 / 12);
});

test('what was cached does not count as read', () => {
  expect(MADE.rows[0]?.prefillPerSecond).toBe(80);
});

test('Markdown is a table and sentences, JSON one line that tells the same', () => {
  const text = toMarkdown(MADE);
  expect(text).toContain('| other | 10 | 100 ms | 80.0 | 10.0 | 2.00 x | 83.3 % |');
  expect(text).toContain("- tokens equal to the server's: 95.0 %");
  expect(text).toContain('(0.100 x)');
  const line = toJsonLine(MADE);
  expect(line).not.toContain('\n');
  expect(JSON.parse(line)).toEqual(MADE);
});

test('the middle of an even number of values is between the two', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test('prompts leave room for the answer, and lengths beyond the context are left out', () => {
  expect(fitting([128, 1024, 2048, 4096], 16, 2048)).toEqual([128, 1024, 1991]);
  expect(fitting([128], 16, 4096)).toEqual([128]);
});

test('the server’s tokens are compared with our text', () => {
  const theirs = { tokens: ['Hel', 'lo', ' you'] };
  expect(equalTokens(theirs, 'Hello you')).toBe(3);
  expect(equalTokens(theirs, 'Hello me')).toBe(2);
  expect(equalTokens(theirs, '')).toBe(0);
});
