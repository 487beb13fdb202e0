/**
 * What bytes a token of the vocabulary stands for.
 *
 * Phi tokenizers come in two kinds. SentencePiece style (Phi-3): `▁` is a space, `<0xE2>` is a byte.
 * GPT-2 style (Phi-4): every byte has a printable character of its own.
 * Bytes, rather than the text of a few ids, because a character may be split between tokens.
 */
import { LocalphiError } from '../../shared/errors';
import { asArray, asObject } from '../../shared/json';

export interface PieceDecoder {
  bytesOf(token: string): Uint8Array;
  /** Whether one space at the very start of a text is the tokenizer's own. */
  readonly stripsFirstSpace: boolean;
}

const utf8 = new TextEncoder();

/** decoder: that member of tokenizer.json. Throws a `manifest` error for a kind unknown here. */
export function pieceDecoder(decoder: unknown): PieceDecoder {
  const kinds = kindsOf(decoder);
  if (kinds.includes('ByteLevel')) return { bytesOf: byteLevelBytes, stripsFirstSpace: false };
  if (kinds.includes('ByteFallback')) {
    return { bytesOf: sentencePieceBytes, stripsFirstSpace: kinds.includes('Strip') };
  }
  throw new LocalphiError('manifest', `unknown kind of tokenizer decoder: ${kinds.join()}`);
}

function kindsOf(decoder: unknown): readonly unknown[] {
  const { type, decoders } = asObject(decoder, 'tokenizer.json decoder');
  if (type !== 'Sequence') return [type];
  return asArray(decoders, 'decoder.decoders').map(
    (d) => asObject(d, 'decoder.decoders[]')['type'],
  );
}

const BYTE_TOKEN = /^<0x([0-9A-F]{2})>$/i;

function sentencePieceBytes(token: string): Uint8Array {
  const byte = BYTE_TOKEN.exec(token)?.[1];
  if (byte !== undefined) return Uint8Array.of(parseInt(byte, 16));
  return utf8.encode(token.replaceAll('▁', ' '));
}

const byteOfCharacter = byteLevelAlphabet();

function byteLevelBytes(token: string): Uint8Array {
  const bytes = Array.from(token, (character) => byteOfCharacter.get(character));
  // An added token may hold characters outside the alphabet; it then stands for itself.
  return bytes.includes(undefined) ? utf8.encode(token) : Uint8Array.from(bytes as number[]);
}

/** GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards. */
function byteLevelAlphabet(): ReadonlyMap<string, number> {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    alphabet.set(String.fromCodePoint(printable(byte) ? byte : next++), byte);
  }
  return alphabet;
}
