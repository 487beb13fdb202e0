import { expect, test } from 'vitest';

import { SseParser } from '../../page/sse';

function parse(pieces: readonly string[]): string[] {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

const STREAM =
  'data: {"a":1}\r\n\r\n: keepalive\n\ndata: x\ndata:y\n\nevent: e\rdata: ü😀\r\rdata: [DONE]\n\n';
const EVENTS = ['{"a":1}', 'x\ny', 'ü😀', '[DONE]'];

test('events come out the same wherever the stream is split', () => {
  for (let i = 0; i <= STREAM.length; i++) {
    expect(parse([STREAM.slice(0, i), STREAM.slice(i)])).toEqual(EVENTS);
    for (let j = i; j <= STREAM.length; j++) {
      expect(parse([STREAM.slice(0, i), STREAM.slice(i, j), STREAM.slice(j)])).toEqual(EVENTS);
    }
  }
});

test('events come out the same one character at a time', () => {
  expect(parse(STREAM.split(''))).toEqual(EVENTS);
});

test('an event comes as soon as its empty line does', () => {
  const parser = new SseParser();
  expect(parser.push('data: a\n')).toEqual([]);
  expect(parser.push('\n')).toEqual(['a']);
});

test('what is not ended is not an event', () => {
  expect(parse(['data: a\n'])).toEqual([]);
});
