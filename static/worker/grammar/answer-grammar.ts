/**
 * The grammar that holds an answer to the tools and the format that were asked for, as the server's
 * `engine/grammar.py` makes it. White space is fixed, for a weak model would wander in it. Text is everything
 * without a control token in it.
 */
import { quote } from '../../shared/json-text';
import type { JsonFormat, Tool } from '../../shared/chat';
import type { ToolChoice } from '../../shared/protocol';
import { ANY_CHARACTER, plainCharacters } from './characters';
import { CLOSING, END, OPENING } from './expression';
import type { Expression, Expressions } from './expression';
import { SchemaGrammar } from './schema-grammar';
import { SchemaMaker } from './schema-maker';

const MAX_CALLS = 8;
/** How a list of calls begins, and no guided text of a model without call tokens. */
export const LIST_OPENING = '[{"name": "';
const ANY_OBJECT = '{"type": "object"}';

/** What holds an answer. */
export interface Guidance {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly parallelToolCalls: boolean;
  readonly answerFormat: JsonFormat | null;
}

export function mayCall({ tools, toolChoice }: Guidance): boolean {
  return tools.length > 0 && toolChoice !== 'none';
}

/**
 * The answers that may be given, end token included where there is one.
 * marked: the model has tokens around its calls. control: tokens that must not stand in text.
 * Throws a `request` error that names the tool or the format whose schema cannot be held.
 */
export function answerGrammar(
  expressions: Expressions,
  guidance: Guidance,
  marked: boolean,
  control: readonly string[],
): Expression {
  const maker = new SchemaMaker(expressions);
  const end = expressions.optional(expressions.set([END]));
  const text = () => expressions.sequence(answerText(maker, guidance, marked, control), end);
  if (!mayCall(guidance)) return text();
  const calls = callList(maker, guidance, marked);
  if (guidance.toolChoice !== 'auto') return calls;
  if (!marked || guidance.answerFormat) return expressions.any(calls, text());
  const before = answerText(maker, guidance, marked, control);
  return expressions.any(calls, expressions.sequence(before, expressions.any(end, calls)));
}

function answerText(
  maker: SchemaMaker,
  guidance: Guidance,
  marked: boolean,
  control: readonly string[],
): Expression {
  const { answerFormat } = guidance;
  if (answerFormat) {
    const param =
      answerFormat.schema === null ? 'response_format' : 'response_format.json_schema.schema';
    return new SchemaGrammar(maker, answerFormat.schema ?? ANY_OBJECT, param).anyText();
  }
  const { expressions } = maker;
  const character = plainCharacters(expressions)(ANY_CHARACTER);
  const anything = expressions.repeat(character, 0, Infinity);
  const marks = control.map((token) => maker.text(token));
  const never =
    marked || !mayCall(guidance)
      ? expressions.sequence(anything, expressions.any(...marks), anything)
      : expressions.sequence(maker.text(LIST_OPENING), anything);
  return expressions.all(expressions.repeat(character, 1, Infinity), expressions.not(never));
}

function callList(maker: SchemaMaker, guidance: Guidance, marked: boolean): Expression {
  const { tools, toolChoice, parallelToolCalls } = guidance;
  const { expressions } = maker;
  const named = typeof toolChoice === 'object' ? toolChoice.name : null;
  const offered = tools.flatMap((tool, number) => {
    if (named !== null && tool.name !== named) return [];
    const param = `tools[${number}].function.parameters`;
    const given = new SchemaGrammar(maker, tool.parameters, param).arguments();
    const head = maker.text(`{"name": ${quote(tool.name)}, "arguments": `);
    return [expressions.sequence(head, given, maker.text('}'))];
  });
  const call = expressions.any(...offered);
  const more = expressions.sequence(maker.text(', '), call);
  const most = parallelToolCalls && named === null ? MAX_CALLS - 1 : 0;
  const list = [maker.text('['), call, expressions.repeat(more, 0, most), maker.text(']')];
  if (!marked) return expressions.sequence(...list);
  return expressions.sequence(expressions.set([OPENING]), ...list, expressions.set([CLOSING]));
}
