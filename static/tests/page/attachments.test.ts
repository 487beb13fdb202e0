import { expect, test } from 'vitest';

import {
  estimateTokens,
  readAttachment,
  splitAttachments,
  withAttachments,
} from '../../page/attachments';
import { titleOf } from '../../page/chats/record';

test('files in a question are found in it again', () => {
  const attachments = [
    { name: 'a.md', text: '```js\nx\n```\n\nFile `b`:' },
    { name: 'empty.txt', text: '' },
  ];
  const content = withAttachments(' What is this? ', attachments);
  expect(content).toContain('What is this?\n\nFile `a.md`:\n````\n```js');
  expect(splitAttachments(content)).toEqual({ question: 'What is this?', attachments });
});

test('a question without files, and files without a question', () => {
  expect(splitAttachments(withAttachments('Hi', []))).toEqual({ question: 'Hi', attachments: [] });
  const file = { name: 'a.txt', text: 'x' };
  expect(splitAttachments(withAttachments('', [file]))).toEqual({
    question: '',
    attachments: [file],
  });
});

test('what is no text is not taken', async () => {
  const read = (bytes: BlobPart, name = 'a.txt') => readAttachment(new File([bytes], name));
  expect(await read('Grüße\r\n', 'a `b`.txt')).toEqual({ name: 'a b .txt', text: 'Grüße' });
  expect(await read(new Uint8Array([0xff, 0xfe, 0xfd]))).toBe('no-text');
  expect(await read('a\0b')).toBe('no-text');
  expect(await read('x'.repeat(1_000_001))).toBe('too-long');
  const large = new File(['%PDF-1.7'], 'a');
  Object.defineProperty(large, 'size', { value: 100_000_001 });
  expect(await readAttachment(large)).toBe('pdf-too-large'); // by what it says, not by its name
});

test('tokens are guessed by the script', () => {
  expect(estimateTokens('')).toBe(0);
  expect(estimateTokens('word '.repeat(70))).toBe(100);
  expect(estimateTokens('你好世界')).toBe(4);
});

test('a chat is called after the question, not after its files', () => {
  const file = { name: 'a.txt', text: 'x' };
  expect(titleOf(withAttachments('What is this?', [file]))).toBe('What is this?');
  expect(titleOf(withAttachments('', [file]))).toBe('a.txt');
});
