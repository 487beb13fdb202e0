/** What holds the answers of one model to tools and formats. */
import type { PromptFormat } from '../../shared/prompt';
import { answerGrammar, mayCall } from '../grammar/answer-grammar';
import type { Guidance } from '../grammar/answer-grammar';
import type { Expression } from '../grammar/expression';
import { Guide } from '../grammar/guide';
import type { GuidedAnswer } from '../grammar/guide';
import { Vocabulary } from '../grammar/vocabulary';
import { MarkedReader, TextReader, UnmarkedReader } from './calls';
import type { AnswerReader } from './calls';
import type { Tokenizer } from './tokenizer';

/** Beyond so many expressions a grammar begins anew; each takes up to 2 kB. */
const MOST_EXPRESSIONS = 50_000;

/** How an answer is made: held to what, and read how. */
export interface Guided {
  readonly guide: GuidedAnswer | null;
  readonly reader: AnswerReader;
}

export class Guides {
  readonly #tokenizer: Tokenizer;
  readonly #format: PromptFormat;
  readonly #endIds: ReadonlySet<number>;
  /** Ids of the tokens around calls; null for a model that has none. */
  readonly #marks: readonly [number, number] | null;
  #vocabulary: Vocabulary | null = null;
  #last: { readonly key: string; readonly guide: Guide; readonly grammar: Expression } | null =
    null;

  constructor(tokenizer: Tokenizer, format: PromptFormat, endIds: ReadonlySet<number>) {
    this.#tokenizer = tokenizer;
    this.#format = format;
    this.#endIds = endIds;
    const [opening = null, closing = null] = format.toolCall?.map((t) => tokenizer.find(t)) ?? [];
    this.#marks = opening === null || closing === null ? null : [opening, closing];
  }

  /** For one answer. Throws a `request` error for what cannot be held. */
  begin(guidance: Guidance): Guided {
    return { guide: this.#guide(guidance), reader: this.#reader(guidance) };
  }

  #guide(guidance: Guidance): GuidedAnswer | null {
    if (guidance.tools.length === 0 && !guidance.answerFormat) return null;
    const key = JSON.stringify(guidance);
    if (this.#last?.key !== key || this.#last.guide.expressions.size > MOST_EXPRESSIONS) {
      this.#last = { key, ...this.#compiled(guidance) };
    }
    return this.#last.guide.begin(this.#last.grammar);
  }

  #compiled(guidance: Guidance): { readonly guide: Guide; readonly grammar: Expression } {
    const { control, toolCall } = this.#format;
    const tokenizer = this.#tokenizer;
    const barred = new Set([...control, ...(toolCall ?? [])].map((token) => tokenizer.find(token)));
    const bytesOf = (id: number) => (barred.has(id) ? null : tokenizer.bytesOf(id));
    this.#vocabulary ??= new Vocabulary(
      Array.from({ length: tokenizer.size }, (_, id) => bytesOf(id)),
    );
    const [opening, closing] = this.#marks ?? [null, null];
    const marks = { opening, closing, ends: this.#endIds };
    const guide = new Guide(this.#vocabulary, marks, bytesOf, (text) => tokenizer.encode(text));
    const marked = this.#marks !== null;
    const inText = [...control, ...(toolCall ?? [])];
    return { guide, grammar: answerGrammar(guide.expressions, guidance, marked, inText) };
  }

  #reader(guidance: Guidance): AnswerReader {
    const newDetokenizer = () => this.#tokenizer.detokenizer();
    if (!mayCall(guidance)) return new TextReader(newDetokenizer());
    if (this.#marks) return new MarkedReader(newDetokenizer, this.#marks);
    return new UnmarkedReader(newDetokenizer());
  }
}
