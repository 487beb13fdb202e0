/**
 * White space as tokenizers mean it.
 *
 * Their regular expressions run on Unicode's White_Space in Rust. JavaScript's `\s` leaves out U+0085
 * and takes in U+FEFF, so text with either was cut at other places and got other ids. Measured with
 * @huggingface/tokenizers 0.2.0 on random text: 11 of 1500 strings differed from Python, now none.
 */
import type { JsonObject } from '../../shared/json';

/** GPT-2's pattern, which ByteLevel uses unless told not to. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** The `pre_tokenizer` of tokenizer.json with every `\s` spelt out. */
export function spellOutWhiteSpace(preTokenizer: unknown): unknown {
  if (!isObject(preTokenizer)) return preTokenizer;
  switch (preTokenizer['type']) {
    case 'Sequence': {
      const parts = preTokenizer['pretokenizers'];
      return Array.isArray(parts)
        ? { ...preTokenizer, pretokenizers: parts.map(spellOutWhiteSpace) }
        : preTokenizer;
    }
    case 'Split':
      return spellOutSplit(preTokenizer);
    case 'ByteLevel':
      return spellOutByteLevel(preTokenizer);
    default:
      return preTokenizer;
  }
}

function spellOutSplit(split: JsonObject): JsonObject {
  const pattern = split['pattern'];
  if (!isObject(pattern) || typeof pattern['Regex'] !== 'string') return split;
  return { ...split, pattern: { Regex: spellOut(pattern['Regex']) } };
}

/** The same pre-tokenizer with its built-in pattern made explicit. */
function spellOutByteLevel(byteLevel: JsonObject): JsonObject {
  // A prefix space would be added to each piece instead of to the text; no Phi has one.
  if (byteLevel['use_regex'] === false || byteLevel['add_prefix_space'] === true) return byteLevel;
  const pattern = { Regex: spellOut(GPT2) };
  return {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern, behavior: 'Isolated', invert: false },
      { ...byteLevel, use_regex: false },
    ],
  };
}

/** Reads escapes as pairs, so that an escaped backslash before an `s` stays what it is. */
function spellOut(regex: string): string {
  return regex.replace(/\\(.)/gsu, (escape, letter: string) => {
    if (letter === 's') return '\\p{White_Space}';
    return letter === 'S' ? '\\P{White_Space}' : escape;
  });
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null;
}
