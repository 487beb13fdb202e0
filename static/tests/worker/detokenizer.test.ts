import { describe, expect, test } from 'vitest';

import { StreamingDetokenizer } from '../../worker/runtime/detokenizer';
import { pieceDecoder } from '../../worker/runtime/pieces';

const utf8 = new TextEncoder();

/** A detokenizer for which the id is the byte. */
function ofBytes(stripsFirstSpace = false): StreamingDetokenizer {
  return new StreamingDetokenizer((id) => Uint8Array.of(id), stripsFirstSpace);
}

test('a character split between tokens comes whole, with its last byte', () => {
  const detokenizer = ofBytes();
  const pieces = [...utf8.encode('a😀é中')].map((byte) => detokenizer.push(byte));
  expect(pieces).toEqual(['a', '', '', '', '😀', '', 'é', '', '', '中']);
  expect(detokenizer.flush()).toBe('');
});

test('a character that never becomes whole is marked in the end', () => {
  const detokenizer = ofBytes();
  expect(detokenizer.push(0xf0)).toBe('');
  expect(detokenizer.flush()).toBe('\ufffd');
});

test('a byte order mark is text', () => {
  const detokenizer = ofBytes();
  expect([...utf8.encode('\ufeffa')].map((byte) => detokenizer.push(byte)).join('')).toBe(
    '\ufeffa',
  );
});

test('only the first space is the tokenizer’s own', () => {
  const detokenizer = ofBytes(true);
  expect([...utf8.encode('  a b')].map((byte) => detokenizer.push(byte)).join('')).toBe(' a b');
});

test('ids that are left out give nothing', () => {
  expect(new StreamingDetokenizer(() => null, false).push(1)).toBe('');
});

describe('pieces in SentencePiece style', () => {
  const pieces = pieceDecoder({
    type: 'Sequence',
    decoders: [{ type: 'Replace' }, { type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip' }],
  });

  test('a low line is a space and a byte token is a byte', () => {
    expect([...pieces.bytesOf('▁a')]).toEqual([0x20, 0x61]);
    expect([...pieces.bytesOf('<0xE2>')]).toEqual([0xe2]);
    expect(pieces.stripsFirstSpace).toBe(true);
  });
});

describe('pieces in GPT-2 style', () => {
  const pieces = pieceDecoder({ type: 'ByteLevel' });

  test('every character is a byte', () => {
    expect([...pieces.bytesOf('Ġa')]).toEqual([0x20, 0x61]);
    expect([...pieces.bytesOf('ðŁĺĢ')]).toEqual([...utf8.encode('😀')]);
    expect(pieces.stripsFirstSpace).toBe(false);
  });

  test('a token outside the alphabet stands for itself', () => {
    expect([...pieces.bytesOf('中')]).toEqual([...utf8.encode('中')]);
  });
});

test('a decoder of another kind is refused by name', () => {
  expect(() => pieceDecoder({ type: 'WordPiece' })).toThrow('WordPiece');
});
