/**
 * An answer's tokens told apart into text and calls of tools, as in the server's `engine/calls.py`.
 *
 * Where the model has tokens around its calls, those are what is looked for: by id, since text can be
 * imitated. Where it has none (Phi-3), an answer is a list of calls when it begins as one.
 */
import type { CallPiece } from '../../shared/protocol';
import { LIST_OPENING } from '../grammar/answer-grammar';

/** Text of the answer, or of a call. */
export type Piece = string | CallPiece;

/** Makes text of token ids, piece by piece. */
export interface Detokenizer {
  push(id: number): string;
  flush(): string;
}

export interface AnswerReader {
  /** Whether calls were read. */
  readonly calls: boolean;
  /** Nothing of the answer can follow. */
  readonly over: boolean;
  /** What this id adds to the answer. */
  push(id: number): readonly Piece[];
  /** What was still held back, when the answer ended. */
  finish(): readonly Piece[];
}

/** An answer that is text, whatever it looks like. */
export class TextReader implements AnswerReader {
  readonly calls = false;
  readonly over = false;
  readonly #detokenizer: Detokenizer;

  constructor(detokenizer: Detokenizer) {
    this.#detokenizer = detokenizer;
  }

  push(id: number): readonly Piece[] {
    return textOf(this.#detokenizer.push(id));
  }

  finish(): readonly Piece[] {
    return textOf(this.#detokenizer.flush());
  }
}

/** Text, then perhaps a list of calls between two tokens. */
export class MarkedReader implements AnswerReader {
  readonly #detokenizer: Detokenizer;
  readonly #listDetokenizer: Detokenizer;
  readonly #opening: number;
  readonly #closing: number;
  readonly #list = new GuidedList();
  #opened = false;
  #over = false;

  /** Text and list have a detokenizer each, so that no half character of the text enters the list. */
  constructor(newDetokenizer: () => Detokenizer, [opening, closing]: readonly [number, number]) {
    this.#detokenizer = newDetokenizer();
    this.#listDetokenizer = newDetokenizer();
    this.#opening = opening;
    this.#closing = closing;
  }

  get calls(): boolean {
    return this.#list.calls;
  }

  get over(): boolean {
    return this.#over;
  }

  push(id: number): readonly Piece[] {
    if (id === this.#closing && this.#opened && this.#list.complete) {
      this.#over = true;
      return [];
    }
    if (id === this.#opening && !this.#opened) {
      this.#opened = true;
      return textOf(this.#detokenizer.flush());
    }
    if (this.#opened) return this.#list.push(this.#listDetokenizer.push(id));
    return textOf(this.#detokenizer.push(id));
  }

  finish(): readonly Piece[] {
    return this.#opened ? [] : textOf(this.#detokenizer.flush());
  }
}

/** Text, or a list of calls in its place; held back until it is clear which. */
export class UnmarkedReader implements AnswerReader {
  readonly #detokenizer: Detokenizer;
  readonly #list = new GuidedList();
  /** Null once it is text. */
  #held: string | null = '';
  #opened = false;

  constructor(detokenizer: Detokenizer) {
    this.#detokenizer = detokenizer;
  }

  get calls(): boolean {
    return this.#list.calls;
  }

  get over(): boolean {
    return this.#list.complete;
  }

  push(id: number): readonly Piece[] {
    return this.#take(this.#detokenizer.push(id));
  }

  finish(): readonly Piece[] {
    const last = this.#take(this.#detokenizer.flush());
    const held = this.#opened ? '' : (this.#held ?? '');
    this.#held = null;
    return [...last, ...textOf(held)];
  }

  #take(text: string): readonly Piece[] {
    if (this.#opened) return this.#list.push(text);
    if (this.#held === null) return textOf(text);
    this.#held += text;
    const begun = this.#held.trimStart();
    if (begun.startsWith(LIST_OPENING)) {
      this.#opened = true;
      return this.#list.push(begun);
    }
    if (LIST_OPENING.startsWith(begun)) return [];
    const said = this.#held;
    this.#held = null;
    return [said];
  }
}

/** How a call begins, up to the bracket that opens its arguments. */
const CALL_HEAD = /^(?:\[|, )\{"name": "([^"\\]*)", "arguments": \{$/;

/** A list of calls as the grammar writes it: each piece of the arguments is passed on as it comes. */
export class GuidedList {
  calls = false;
  /** Its last bracket was read. */
  complete = false;
  #state: 'head' | 'arguments' | 'tail' = 'head';
  #head = '';
  #index = -1;
  #depth = 0;
  #inString = false;
  #escaped = false;

  push(text: string): readonly Piece[] {
    const pieces: Piece[] = [];
    let given = '';
    for (const character of text) {
      if (this.#state === 'arguments') {
        given += character;
        this.#follow(character);
        if (this.#depth > 0) continue;
        pieces.push({ type: 'arguments', index: this.#index, text: given });
        given = '';
        this.#state = 'tail';
      } else if (this.#state === 'tail') {
        this.#state = 'head'; // this was the bracket that ends the call
        this.#head = '';
      } else {
        this.#head += character;
        const name = character === '{' ? CALL_HEAD.exec(this.#head)?.[1] : undefined;
        if (name !== undefined) {
          pieces.push(this.#start(name));
          given = character;
        }
        this.complete = this.#head === ']';
      }
    }
    if (given !== '') pieces.push({ type: 'arguments', index: this.#index, text: given });
    return pieces;
  }

  #start(name: string): CallPiece {
    this.calls = true;
    this.#index += 1;
    this.#depth = 1;
    this.#state = 'arguments';
    return { type: 'call', index: this.#index, callId: newId(), name };
  }

  #follow(character: string): void {
    if (this.#escaped) this.#escaped = false;
    else if (this.#inString) {
      this.#escaped = character === '\\';
      this.#inString = character !== '"';
    } else if (character === '"') this.#inString = true;
    else if (character === '{' || character === '[') this.#depth += 1;
    else if (character === '}' || character === ']') this.#depth -= 1;
  }
}

function textOf(text: string): readonly Piece[] {
  return text === '' ? [] : [text];
}

function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `call_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
