import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';

import { LocalphiError } from '../../shared/errors';
import { asObject } from '../../shared/json';
import { AddedTokens } from './added-tokens';
import { StreamingDetokenizer } from './detokenizer';
import { pieceDecoder } from './pieces';
import type { PieceDecoder } from './pieces';
import { spellOutWhiteSpace } from './white-space';

/** Text to token ids and back, as tokenizer.json says. */
export class Tokenizer {
  readonly #library: HuggingFaceTokenizer;
  readonly #added: AddedTokens;
  readonly #pieces: PieceDecoder;
  /** Number of ids: one more than the largest. */
  readonly size: number;

  /** Both arguments are parsed JSON. Throws a `manifest` error for a kind of tokenizer unknown here. */
  constructor(tokenizerJson: unknown, tokenizerConfig: unknown) {
    const json = asObject(tokenizerJson, 'tokenizer.json');
    const config = asObject(tokenizerConfig, 'tokenizer_config.json');
    const pre_tokenizer = spellOutWhiteSpace(json['pre_tokenizer']);
    this.#library = new HuggingFaceTokenizer({ ...json, pre_tokenizer }, config);
    this.#added = new AddedTokens(json['added_tokens']);
    this.#pieces = pieceDecoder(json['decoder']);
    const model = asObject(json['model'], 'tokenizer.json model');
    const ids = Object.values(asObject(model['vocab'], 'tokenizer.json model.vocab'));
    const largest = ids.reduce<number>((most, id) => Math.max(most, Number(id)), -1);
    this.size = Math.max(largest, this.#added.largest) + 1;
  }

  /** Ids of a prompt. Control tokens in the text become their ids; nothing is added. */
  encode(text: string): readonly number[] {
    return this.#added.split(text).flatMap((part) => {
      if (typeof part === 'number') return [part];
      return this.#library.encode(part, { add_special_tokens: false }).ids;
    });
  }

  /** The whole text of the ids; special tokens are left out. */
  decode(ids: readonly number[]): string {
    const detokenizer = this.detokenizer();
    return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
  }

  /** For the ids of an answer as they come; special tokens are left out. */
  detokenizer(): StreamingDetokenizer {
    return new StreamingDetokenizer((id) => this.bytesOf(id), this.#pieces.stripsFirstSpace);
  }

  /** What the id stands for in a text; null for special tokens and for ids that there are not. */
  bytesOf(id: number): Uint8Array | null {
    const token = this.#added.special.has(id) ? undefined : this.#library.id_to_token(id);
    return token === undefined ? null : this.#pieces.bytesOf(token);
  }

  /** The id of a token; null when the vocabulary has no such token. */
  find(token: string): number | null {
    return this.#library.token_to_id(token) ?? null;
  }

  /** Throws a `manifest` error when the vocabulary has no such token. */
  idOf(token: string): number {
    const id = this.find(token);
    if (id === null) {
      throw new LocalphiError('manifest', `the tokenizer has no token ${JSON.stringify(token)}`);
    }
    return id;
  }
}
