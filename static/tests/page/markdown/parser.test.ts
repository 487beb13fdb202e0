import { expect, test } from 'vitest';

import { MarkdownParser } from '../../../page/markdown/parser';
import { ANSWER } from './answer';

test('a text that grows has the blocks it has at once, wherever it is split', () => {
  const parser = new MarkdownParser();
  for (let end = 1; end <= ANSWER.length; end++) {
    const text = ANSWER.slice(0, end);
    expect(parser.parse(text, false)).toEqual(new MarkdownParser().parse(text, false));
  }
});

test('blocks that cannot change any more are the same objects', () => {
  const parser = new MarkdownParser();
  const [first] = parser.parse('One.\n\nTwo', true);
  expect(parser.parse('One.\n\nTwo.\n\nThree', true)[0]).toBe(first);
});

test('another text is parsed from its start', () => {
  const parser = new MarkdownParser();
  parser.parse('# One\n\nTwo', true);
  expect(parser.parse('Other', false)).toMatchObject([{ type: 'paragraph', text: 'Other' }]);
});

test.each(['>', '> ', '- ', '1. '])('%j without end is plain text', (mark) => {
  const text = mark.repeat(20_000);
  expect(new MarkdownParser().parse(text, false)).toMatchObject([{ type: 'paragraph', text }]);
});
