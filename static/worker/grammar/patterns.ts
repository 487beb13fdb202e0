/**
 * Regular expressions of JSON schemas. What the server's library (Rust's regex syntax) and ECMAScript both
 * know is read; anything else is an error. Digits and word characters are ASCII's, as in ECMAScript.
 */
import { ANY_CHARACTER, complement, normal } from './characters';
import type { CharacterMaker, Ranges } from './characters';
import type { Expression, Expressions } from './expression';

/** A pattern that cannot be used; the message says why. */
export class PatternError extends Error {}

type Part =
  | { readonly kind: 'characters'; readonly ranges: Ranges }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'group'; readonly options: readonly Parts[] }
  | { readonly kind: 'repeat'; readonly item: Part; readonly least: number; readonly most: number };

type Parts = readonly Part[];

/** What a pattern says, apart from what it is written for. */
export type Pattern = readonly Parts[];

const DIGIT: Ranges = [[48, 57]];
const WORD: Ranges = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const SPACE: Ranges = normal(
  Array.from(
    '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
    (character) => [character.charCodeAt(0), character.charCodeAt(0)] as const,
  ),
);
const NEWLINE: Ranges = [[10, 10]];
const CLASSES: Readonly<Record<string, Ranges>> = {
  ...{ d: DIGIT, D: complement(DIGIT), w: WORD, W: complement(WORD) },
  ...{ s: SPACE, S: complement(SPACE) },
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11 };
const MOST_REPEATS = 100_000;

/** Throws a PatternError. */
export function parsePattern(text: string): Pattern {
  const reader = new PatternReader(text);
  const options = reader.options();
  if (!reader.atEnd) throw new PatternError('unopened group');
  return options;
}

/** Whether only one alternative stands at the top. */
export function isSingle(pattern: Pattern): boolean {
  return pattern.length === 1;
}

/**
 * The texts in which the pattern is found somewhere, as far as its anchors let it.
 * of: makes the characters of the pattern, and those around it.
 */
export function found(pattern: Pattern, expressions: Expressions, of: CharacterMaker): Expression {
  const anything = expressions.repeat(of(ANY_CHARACTER), 0, Infinity);
  return expressions.any(
    ...pattern.flatMap(withEdges).map((parts) => {
      const opened = parts[0]?.kind === 'start';
      const closed = parts.at(-1)?.kind === 'end' && parts.length > (opened ? 1 : 0);
      const inner = parts.slice(opened ? 1 : 0, closed ? -1 : undefined);
      const body = inner.map((part) => compile(part, expressions, of));
      return expressions.sequence(
        ...(opened ? [] : [anything]),
        ...body,
        ...(closed ? [] : [anything]),
      );
    }),
  );
}

/** The texts that the whole of the pattern fits; it must have no anchors. */
export function expressionOf(
  pattern: Pattern,
  expressions: Expressions,
  of: CharacterMaker,
): Expression {
  return expressions.any(
    ...pattern.map((parts) =>
      expressions.sequence(...parts.map((part) => compile(part, expressions, of))),
    ),
  );
}

function compile(part: Part, expressions: Expressions, of: CharacterMaker): Expression {
  switch (part.kind) {
    case 'characters':
      return of(part.ranges);
    case 'start':
    case 'end':
      throw new PatternError('lookarounds not supported yet');
    case 'group':
      return expressionOf(part.options, expressions, of);
    case 'repeat': {
      return expressions.repeat(compile(part.item, expressions, of), part.least, part.most);
    }
    default:
      return part satisfies never;
  }
}

/** Anchors within a group at an edge, as in `^(a$|b)`, brought to the edge. */
function withEdges(parts: Parts): readonly Parts[] {
  const first = parts[0];
  if (first?.kind === 'start' && parts[1]?.kind === 'start') return withEdges(parts.slice(1));
  const start = first?.kind === 'start' ? 1 : 0;
  const inner = parts[start];
  if (inner?.kind === 'group' && hasAnchor(inner)) {
    return inner.options.flatMap((option) =>
      withEdges([...parts.slice(0, start), ...option, ...parts.slice(start + 1)]),
    );
  }
  const last = parts.at(-1);
  if (last?.kind === 'end' && parts.at(-2)?.kind === 'end') return withEdges(parts.slice(0, -1));
  const end = last?.kind === 'end' ? parts.length - 1 : parts.length;
  const outer = parts[end - 1];
  if (outer?.kind === 'group' && hasAnchor(outer)) {
    return outer.options.flatMap((option) =>
      withEdges([...parts.slice(0, end - 1), ...option, ...parts.slice(end)]),
    );
  }
  return [parts];
}

function hasAnchor(part: Part): boolean {
  if (part.kind === 'start' || part.kind === 'end') return true;
  return part.kind === 'group' && part.options.some((option) => option.some(hasAnchor));
}

class PatternReader {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#characters = Array.from(text);
  }

  get atEnd(): boolean {
    return this.#at >= this.#characters.length;
  }

  options(): Parts[] {
    const options: Parts[] = [this.#parts()];
    while (this.#take('|')) options.push(this.#parts());
    return options;
  }

  #parts(): Parts {
    const parts: Part[] = [];
    while (!this.atEnd && this.#peek() !== '|' && this.#peek() !== ')') {
      parts.push(this.#repeated(this.#part()));
    }
    return parts;
  }

  #part(): Part {
    const character = this.#next();
    switch (character) {
      case '^':
        return { kind: 'start' };
      case '$':
        return { kind: 'end' };
      case '.':
        return { kind: 'characters', ranges: complement(NEWLINE) };
      case '(':
        return this.#group();
      case '[':
        return { kind: 'characters', ranges: this.#class() };
      case '\\':
        return { kind: 'characters', ranges: this.#escape() };
      case '*':
      case '+':
      case '?':
      case '{':
        throw new PatternError('repetition operator missing expression');
      default:
        return { kind: 'characters', ranges: one(character) };
    }
  }

  #group(): Part {
    if (this.#take('?')) {
      if (this.#take(':')) {
        // not captured, and nothing is
      } else if (this.#peek() === '<' && !'=!'.includes(this.#characters[this.#at + 1] ?? '=')) {
        while (this.#next() !== '>');
      } else {
        const look = '=!<'.includes(this.#peek());
        throw new PatternError(
          look
            ? 'look-around, including look-ahead and look-behind, is not supported'
            : 'unrecognized flag',
        );
      }
    }
    const options = this.options();
    if (!this.#take(')')) throw new PatternError('unclosed group');
    return { kind: 'group', options };
  }

  #repeated(item: Part): Part {
    const bounds = this.#bounds();
    if (!bounds) return item;
    this.#take('?'); // lazy is the same set of texts
    const [least, most] = bounds;
    if (least > most) throw new PatternError('invalid repetition count range');
    if (item.kind === 'start' || item.kind === 'end') {
      throw new PatternError('lookarounds not supported yet');
    }
    return this.#repeated({ kind: 'repeat', item, least, most });
  }

  #bounds(): readonly [number, number] | null {
    if (this.#take('*')) return [0, Infinity];
    if (this.#take('+')) return [1, Infinity];
    if (this.#take('?')) return [0, 1];
    if (!this.#take('{')) return null;
    const least = this.#count();
    const most = this.#take(',') ? (this.#peek() === '}' ? Infinity : this.#count()) : least;
    if (!this.#take('}')) throw new PatternError('unclosed counted repetition');
    return [least, most];
  }

  #count(): number {
    let digits = '';
    while (/[0-9]/.test(this.#peek())) digits += this.#next();
    if (digits === '') throw new PatternError('repetition quantifier expects a valid decimal');
    if (Number(digits) > MOST_REPEATS) throw new PatternError('too many repetitions');
    return Number(digits);
  }

  #class(): Ranges {
    const negated = this.#take('^');
    const ranges: (readonly [number, number])[] = [];
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      if (this.atEnd || (first && this.#peek() === ']')) {
        throw new PatternError('unclosed character class');
      }
      ranges.push(...this.#classItem());
    }
    this.#next();
    const all = normal(ranges);
    if (negated) return complement(all);
    return all;
  }

  #classItem(): Ranges {
    const from = this.#classAtom();
    const isRange = this.#peek() === '-' && (this.#characters[this.#at + 1] ?? ']') !== ']';
    if (!isRange) return from;
    this.#next();
    const to = this.#classAtom();
    const [first, last] = [single(from), single(to)];
    if (first > last) throw new PatternError('invalid character class range');
    return [[first, last]];
  }

  #classAtom(): Ranges {
    const character = this.#next();
    if (character === '\\') return this.#escape();
    const doubled = this.#peek() === character && '&~-'.includes(character);
    if (character === '[' || doubled) {
      throw new PatternError('sets within a character class are not supported');
    }
    return one(character);
  }

  #escape(): Ranges {
    const character = this.#next();
    const named = CLASSES[character];
    if (named) return named;
    if (character in CONTROLS) return one(CONTROLS[character]!);
    if (character === 'x') return one(this.#hex(2));
    if (character === 'u') return one(this.#hex(4));
    if (character === 'p' || character === 'P') return this.#property(character === 'P');
    if (character === 'b' || character === 'B') {
      throw new PatternError('lookarounds not supported yet');
    }
    if (/[1-9]/.test(character)) throw new PatternError('backreferences are not supported');
    if (/[0a-zA-Z]/.test(character)) throw new PatternError('unrecognized escape sequence');
    return one(character);
  }

  #hex(length: number): number {
    if (this.#take('{')) {
      let digits = '';
      while (!this.#take('}')) digits += this.#next();
      return hexadecimal(digits);
    }
    return hexadecimal(Array.from({ length }, () => this.#next()).join(''));
  }

  #property(negated: boolean): Ranges {
    let name = this.#next();
    if (name === '{') {
      name = '';
      while (!this.#take('}')) name += this.#next();
    }
    const ranges = unicodeProperty(name);
    return negated ? complement(ranges) : ranges;
  }

  #peek(): string {
    return this.#characters[this.#at] ?? '';
  }

  #next(): string {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw new PatternError('it ends too early');
    return character;
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }
}

function one(character: string | number): Ranges {
  const code = typeof character === 'number' ? character : character.codePointAt(0)!;
  return [[code, code]];
}

function single(ranges: Ranges): number {
  const [range] = ranges;
  if (ranges.length !== 1 || range?.[0] !== range?.[1]) {
    throw new PatternError('invalid character class range');
  }
  return range![0];
}

function hexadecimal(digits: string): number {
  const code = /^[0-9a-f]{1,6}$/i.test(digits) ? parseInt(digits, 16) : NaN;
  if (!(code <= 0x10ffff)) throw new PatternError('invalid hexadecimal digit');
  return code;
}

function unicodeProperty(name: string): Ranges {
  let pattern: RegExp;
  try {
    pattern = new RegExp(`\\p{${name}}`, 'u');
  } catch {
    throw new PatternError('Unicode property not found');
  }
  const ranges: [number, number][] = [];
  for (let code = 0; code <= 0x10ffff; code++) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    if (!pattern.test(String.fromCodePoint(code))) continue;
    const last = ranges.at(-1);
    if (last?.[1] === code - 1) last[1] = code;
    else ranges.push([code, code]);
  }
  return ranges;
}
