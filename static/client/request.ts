/** What `create` was given, checked, in the words of the worker. */
import type { ChatOptions, Message, Role } from '../shared/protocol';
import { MAX_STOPS, MAX_STOP_CHARS, RANGES } from '../shared/ranges';
import type { NumberOption } from '../shared/ranges';
import type { ToolCall } from '../shared/chat';
import type { ChatCompletionParams } from './api';
import {
  parseAnswerFormat,
  parseCalls,
  parseToolCallId,
  parseToolChoice,
  parseTools,
  show,
  wrong,
} from './tools';

export interface ParsedRequest {
  readonly messages: readonly Message[];
  readonly options: ChatOptions;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

/** Names on the wire of the options that are numbers. */
const NUMBERS: Readonly<Record<string, NumberOption>> = {
  max_tokens: 'maxTokens',
  max_completion_tokens: 'maxTokens',
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  min_p: 'minP',
  seed: 'seed',
  presence_penalty: 'presencePenalty',
  frequency_penalty: 'frequencyPenalty',
  repetition_penalty: 'repetitionPenalty',
};
const ROLES: readonly Role[] = ['system', 'user', 'assistant', 'tool'];
const OTHERS = new Set([
  ...['messages', 'model', 'stream', 'stream_options', 'stop', 'n'],
  ...['tools', 'tool_choice', 'parallel_tool_calls', 'response_format', 'adapter'],
]);
const MAX_ADAPTER_CHARS = 64;

/** modelId: the loaded one. Throws a TypeError that names the parameter. */
export function parseRequest(params: ChatCompletionParams, modelId: string): ParsedRequest {
  const given = Object.entries(params).filter(([, value]) => value !== null && value !== undefined);
  const options: Record<string, unknown> = {};
  for (const [name, value] of given as [string, unknown][]) {
    const option = NUMBERS[name];
    if (option !== undefined) options[option] = number(name, option, value);
    else if (!OTHERS.has(name)) {
      throw new TypeError(`${name}: answers made in the browser do not know this parameter`);
    }
  }
  const { n, stop, stream, stream_options: streamOptions } = params;
  if (((n ?? 1) as number) !== 1) throw new TypeError(`n: one answer at a time, not ${String(n)}`);
  const adapter = parseAdapter(params, modelId);
  if (adapter !== null) options['adapter'] = adapter;
  if (stop !== null && stop !== undefined) options['stop'] = stops(stop);
  Object.assign(options, held(params));
  return {
    messages: messages(params.messages),
    options,
    stream: stream ?? false,
    includeUsage: streamOptions?.include_usage ?? false,
  };
}

/** Named in a field of its own or behind the model: "localphi-demo:poems". Null where none is. */
function parseAdapter({ model, adapter }: ChatCompletionParams, modelId: string): string | null {
  const wanted: unknown = model ?? modelId;
  const [loaded, ...behind] = String(wanted).split(':');
  if (loaded !== modelId)
    throw new TypeError(`model: '${modelId}' is loaded, not '${String(wanted)}'`);
  const named = behind.length > 0 ? behind.join(':') : null;
  const given: unknown = adapter ?? named;
  if (named !== null && given !== named) {
    throw new TypeError(`adapter: model names the adapter '${named}', but this is ${show(given)}`);
  }
  if (given === null) return null;
  if (typeof given === 'string' && given !== '' && given.length <= MAX_ADAPTER_CHARS) return given;
  const where = named === null ? 'adapter' : 'model';
  throw wrong(where, `the name of an adapter, of 1 to ${MAX_ADAPTER_CHARS} characters`, given);
}

function number(name: string, option: NumberOption, value: unknown): number {
  const { min, max, whole } = RANGES[option];
  const fits = typeof value === 'number' && value >= min && value <= max;
  if (fits && (!whole || Number.isInteger(value))) return value;
  const kind = whole ? 'a whole number' : 'a number';
  throw new TypeError(`${name}: must be ${kind} from ${min} to ${max}, but is ${show(value)}`);
}

/** What holds the answer. */
function held(params: ChatCompletionParams): Partial<ChatOptions> {
  const { parallel_tool_calls: parallel, response_format: format } = params;
  const tools = params.tools ? parseTools(params.tools) : [];
  const toolChoice = parseToolChoice(params.tool_choice ?? 'auto', tools);
  if (typeof (parallel ?? true) !== 'boolean') {
    throw new TypeError(`parallel_tool_calls: must be true or false, but is ${show(parallel)}`);
  }
  const answerFormat = format ? parseAnswerFormat(format) : null;
  return {
    ...(tools.length > 0 && { tools, toolChoice, parallelToolCalls: parallel ?? true }),
    ...(answerFormat && { answerFormat }),
  };
}

function messages(given: unknown): readonly Message[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw new TypeError(
      `messages: must be a list with at least one message, but is ${show(given)}`,
    );
  }
  let calls: readonly ToolCall[] = [];
  return given.map((entry: unknown, i) => {
    const parsed = message(entry, `messages[${i}]`, calls);
    if (parsed.role !== 'tool') calls = parsed.toolCalls ?? [];
    return parsed;
  });
}

/** calls: those of the assistant turn before, which a tool turn answers. */
function message(given: unknown, where: string, calls: readonly ToolCall[]): Message {
  const fields = (given ?? {}) as Readonly<Record<string, unknown>>;
  const { role, content, tool_calls: called, tool_call_id: callId } = fields;
  const known = ROLES.find((name) => name === role);
  if (!known) {
    throw new TypeError(`${where}.role: must be one of ${ROLES.join(', ')}, but is ${show(role)}`);
  }
  const isEmpty = known === 'assistant' && (content === null || content === undefined);
  if (typeof content !== 'string' && !isEmpty) {
    throw new TypeError(`${where}.content: must be text, but is ${show(content)}`);
  }
  const parsed = { role: known, content: typeof content === 'string' ? content : '' };
  if (known === 'tool') {
    return { ...parsed, toolCallId: parseToolCallId(callId, `${where}.tool_call_id`, calls) };
  }
  if (called === null || called === undefined) return parsed;
  const toolCalls = parseCalls(called, `${where}.tool_calls`);
  if (known !== 'assistant' && toolCalls.length > 0) {
    throw new TypeError(`${where}.tool_calls: stands in a turn of another role than assistant`);
  }
  return { ...parsed, toolCalls };
}

function stops(given: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  const texts = list.filter((stop) => typeof stop === 'string' && stop !== '');
  const fit = texts.length === list.length && list.length <= MAX_STOPS;
  if (fit && texts.every((stop) => (stop as string).length <= MAX_STOP_CHARS)) {
    return texts as string[];
  }
  throw new TypeError(
    `stop: must be a text or up to ${MAX_STOPS} of them, each of 1 to ${MAX_STOP_CHARS} characters`,
  );
}
