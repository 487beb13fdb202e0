import { escapeRegExp } from '../../shared/regexp';
import { asArray, asCount, asObject, asString } from '../../shared/json';

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly pattern: string;
  readonly special: boolean;
}

/**
 * The tokens that tokenizer.json adds to the vocabulary: turn markers and the like.
 *
 * The tokenizer library finds them as well, but strips around them what JavaScript calls white space.
 * The original (Rust) strips Unicode's White_Space: U+0085 belongs to it and U+FEFF does not. Phi-3
 * strips after each turn marker, so a message that begins with either came out differently.
 */
export class AddedTokens {
  readonly special: ReadonlySet<number>;
  /** The largest of their ids; -1 where there are none. */
  readonly largest: number;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #pattern: RegExp | null;

  /** json: the member `added_tokens` of tokenizer.json. Throws `manifest` errors. */
  constructor(json: unknown) {
    const all = asArray(json, 'added_tokens');
    this.largest = all.reduce<number>((most, token) => Math.max(most, parse(token).id), -1);
    const tokens = all.filter(isRaw).map(parse);
    this.special = new Set(tokens.filter(({ special }) => special).map(({ id }) => id));
    this.#ids = new Map(tokens.map(({ content, id }) => [content, id]));
    const patterns = tokens
      .toSorted((a, b) => b.content.length - a.content.length)
      .map(({ pattern }) => pattern);
    this.#pattern = patterns.length > 0 ? new RegExp(patterns.join('|'), 'gu') : null;
  }

  /** The ids of the tokens in the text, and the pieces of text around them. */
  split(text: string): readonly (number | string)[] {
    const parts: (number | string)[] = [];
    let done = 0;
    for (const match of this.#pattern ? text.matchAll(this.#pattern) : []) {
      const content = match.slice(1).join('');
      parts.push(text.slice(done, match.index), this.#ids.get(content)!);
      done = match.index + match[0].length;
    }
    parts.push(text.slice(done));
    return parts.filter((part) => part !== '');
  }
}

/** Tokens that are looked for after normalising the text are left to the library. */
function isRaw(json: unknown): boolean {
  return asObject(json, 'added_tokens[]')['normalized'] !== true;
}

function parse(json: unknown): AddedToken {
  const token = asObject(json, 'added_tokens[]');
  const content = asString(token['content'], 'added_tokens[].content');
  const before = token['lstrip'] === true ? '\\p{White_Space}*' : '';
  const after = token['rstrip'] === true ? '\\p{White_Space}*' : '';
  return {
    id: asCount(token['id'], 'added_tokens[].id'),
    content,
    pattern: `${before}(${escapeRegExp(content)})${after}`,
    special: token['special'] === true,
  };
}
