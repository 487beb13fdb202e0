import { expect, test } from 'vitest';

import { mend } from '../../../page/markdown/mend';
import { MarkdownParser } from '../../../page/markdown/parser';
import { ANSWER } from './answer';

test.each([
  ['a **bo', 'a **bo**'],
  ['a **bold*', 'a **bold**'],
  ['a **bold** b', 'a **bold** b'],
  ['a **', 'a '],
  ['a **bo ', 'a **bo** '],
  ['***both', '***both***'],
  ['**a *b', '**a *b***'],
  ['_a', '_a_'],
  ['~~a', '~~a~~'],
  ['run `ma', 'run `ma`'],
  ['run ``a`b', 'run ``a`b``'],
  ['run `', 'run '],
  ['`a*b` c', '`a*b` c'],
  ['[the do', '[the do'],
  ['[the docs](https://exa', 'the docs'],
  ['![alt](https://exa', 'alt'],
  [String.raw`a \*b`, String.raw`a \*b`],
])('what is open in a line is closed: %j', (text, shown) => {
  expect(mend(text)).toBe(shown);
});

test.each(['2 * 3', '2*3', 'snake_case', '__init__', 'a < b', 'f(x) = [1, 2]'])(
  'what only looks like a mark stays: %j',
  (text) => {
    expect(mend(text)).toBe(text);
  },
);

test.each([
  'Items:\n-',
  'Items:\n- ',
  'Text\n=',
  '#',
  '1',
  '1.',
  '- [',
  '- [x]',
  '>',
  '``',
  '- **',
])('marks alone wait: %j', (text) => {
  expect(mend(text)).toBe(text.includes('\n') ? text.split('\n')[0] : '');
});

test('a fence waits for its language, and for its end', () => {
  expect(mend('a\n```py')).toBe('a');
  expect(mend('a\n```python\nx')).toBe('a\n```python\nx');
  expect(mend('```\nx\n``')).toBe('```\nx');
  expect(mend('```\nx **y')).toBe('```\nx **y');
});

test('a table waits until it is one', () => {
  expect(mend('a\n| b | c')).toBe('a');
  expect(mend('| b | c |\n')).toBe('');
  expect(mend('| b | c |\n|---|')).toBe('');
  expect(mend('| b | c |\n|---|---|\n')).toBe('| b | c |\n|---|---|\n');
  expect(mend('| b | c |\n|---|---|\n| **d')).toBe('| b | c |\n|---|---|\n| **d**');
});

/** Types of a text's blocks, in order. */
function types(text: string, growing: boolean, parser = new MarkdownParser()): string[] {
  const blocks = parser.parse(text, growing);
  return blocks.map(({ type }) => type).filter((type) => type !== 'space');
}

test('no block ever becomes another kind of block', () => {
  const final = types(ANSWER, false);
  const parser = new MarkdownParser();
  for (let end = 1; end <= ANSWER.length; end++) {
    const now = types(ANSWER.slice(0, end), true, parser);
    expect(now, ANSWER.slice(0, end)).toEqual(final.slice(0, now.length));
  }
});

test('no mark shows that goes away again', () => {
  const parser = new MarkdownParser();
  for (let end = 1; end <= ANSWER.length; end++) {
    const blocks = parser.parse(ANSWER.slice(0, end), true);
    const texts = JSON.stringify(
      blocks.filter(({ type }) => type !== 'code'),
      ['type', 'tokens', 'text', 'items', 'rows', 'header'],
    );
    for (const [, text] of texts.matchAll(/"type":"text"[^{}]*?"text":"([^"]*)"\}/g)) {
      expect(text, ANSWER.slice(0, end)).not.toMatch(/\*\*|`|~~|\]\(|\|/);
    }
  }
});

test('a long run of marks takes no time', () => {
  const started = performance.now();
  for (const mark of ['*', '_', '`', '[', '>', '| ', '- ', '~~']) mend(mark.repeat(5000) + 'x');
  expect(performance.now() - started).toBeLessThan(5000);
});
