import { expect, test } from 'vitest';

import { parseText } from '../../page/text';

const plain = (text: string) => ({ type: 'paragraph', spans: [{ code: false, text }] });

test('blank lines part paragraphs, single ones stay', () => {
  expect(parseText('one\ntwo\n\n\nthree')).toEqual([plain('one\ntwo'), plain('three')]);
});

test('backticks make code, alone they are text', () => {
  expect(parseText('run `make` or ` not')).toEqual([
    {
      type: 'paragraph',
      spans: [
        { code: false, text: 'run ' },
        { code: true, text: 'make' },
        { code: false, text: ' or ` not' },
      ],
    },
  ]);
});

test('a fence holds code as it is', () => {
  expect(parseText('see\n```sh\na  `b`\n\nc\n```\nend')).toEqual([
    plain('see'),
    { type: 'code', text: 'a  `b`\n\nc' },
    plain('end'),
  ]);
});

test('a fence that is still open runs to the end', () => {
  expect(parseText('```\nx')).toEqual([{ type: 'code', text: 'x' }]);
});

test('markup is text', () => {
  expect(parseText('<b>x</b>')).toEqual([plain('<b>x</b>')]);
});
