/** Tools, calls and the format of the answer, as OpenAI's bodies have them, in the words of the worker. */
import { isJson } from '../shared/json-text';
import type { JsonFormat, Tool, ToolCall } from '../shared/chat';
import type { ToolChoice } from '../shared/protocol';

const MAX_TOOLS = 128;
const MAX_ID_CHARS = 256;
const MAX_SCHEMA_BYTES = 64 * 1024;
const NAME = /^[a-zA-Z0-9_-]{1,64}$/;
const NO_PARAMETERS = { type: 'object', properties: {} };

type Fields = Readonly<Record<string, unknown>>;

/** Throws a TypeError that names the field, as everything here. */
export function parseTools(given: unknown): readonly Tool[] {
  if (!Array.isArray(given) || given.length > MAX_TOOLS) {
    throw wrong('tools', `a list of at most ${MAX_TOOLS} tools`, given);
  }
  const names = new Set<string>();
  return given.map((entry: unknown, i) => {
    const where = `tools[${i}]`;
    const { name, description = '', parameters } = functionOf(entry, where);
    const tool = nameOf(name, `${where}.function.name`);
    if (names.has(tool)) {
      throw new TypeError(`${where}.function.name: '${tool}' is the name of another tool, too`);
    }
    names.add(tool);
    if (typeof description !== 'string' && description !== null) {
      throw wrong(`${where}.function.description`, 'a text', description);
    }
    const schema = schemaText(parameters ?? NO_PARAMETERS, `${where}.function.parameters`);
    return { name: tool, description: description ?? '', parameters: schema };
  });
}

export function parseToolChoice(given: unknown, tools: readonly Tool[]): ToolChoice {
  if (given === 'auto' || given === 'none') return given;
  const named = isFields(given)
    ? nameOf(functionOf(given, 'tool_choice')['name'], 'tool_choice.function.name')
    : null;
  if (given !== 'required' && named === null) {
    const choices = '"auto", "required", "none", or an object that names a function';
    throw wrong('tool_choice', `one of ${choices}`, given);
  }
  if (tools.length === 0) throw new TypeError('tool_choice: wants a call, but there are no tools');
  if (named === null) return 'required';
  if (tools.every(({ name }) => name !== named)) {
    throw new TypeError(`tool_choice.function.name: no tool has the name '${named}'`);
  }
  return { name: named };
}

/** Null where any text will do. */
export function parseAnswerFormat(given: unknown): JsonFormat | null {
  const kind = isFields(given) ? given['type'] : null;
  if (kind === 'text') return null;
  if (kind === 'json_object') return { schema: null };
  if (!isFields(given) || kind !== 'json_schema') {
    const formats =
      '{"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {…}}';
    throw wrong('response_format', `one of ${formats}`, given);
  }
  const { json_schema: format } = given;
  const where = 'response_format.json_schema';
  if (!isFields(format)) throw wrong(where, 'an object with a schema', format);
  return { schema: schemaText(format['schema'], `${where}.schema`) };
}

/** The calls of an assistant turn. */
export function parseCalls(given: unknown, where: string): readonly ToolCall[] {
  if (!Array.isArray(given) || given.length > MAX_TOOLS) {
    throw wrong(where, `a list of at most ${MAX_TOOLS} calls`, given);
  }
  const calls = given.map((entry: unknown, i): ToolCall => {
    const called = functionOf(entry, `${where}[${i}]`);
    const text = called['arguments'] === '' ? '{}' : called['arguments']; // as some write no arguments
    if (typeof text !== 'string' || !text.trim().startsWith('{') || !isJson(text)) {
      throw wrong(`${where}[${i}].function.arguments`, 'the JSON text of an object', text);
    }
    const name = nameOf(called['name'], `${where}[${i}].function.name`);
    return { id: idOf((entry as Fields)['id'], `${where}[${i}].id`), name, arguments: text };
  });
  const again = calls.findIndex(({ id }, i) => calls.slice(0, i).some((call) => call.id === id));
  if (again >= 0) throw new TypeError(`${where}[${again}].id: is the id of another call, too`);
  return calls;
}

/** The call that a tool turn answers: one of the turn before it. */
export function parseToolCallId(given: unknown, where: string, calls: readonly ToolCall[]): string {
  const found = idOf(given, where);
  if (calls.some(({ id }) => id === found)) return found;
  throw new TypeError(`${where}: the turn before has no call ${JSON.stringify(found)}`);
}

function functionOf(entry: unknown, where: string): Fields {
  if (!isFields(entry))
    throw wrong(where, 'an object {"type": "function", "function": {…}}', entry);
  if (entry['type'] !== 'function') throw wrong(`${where}.type`, '"function"', entry['type']);
  const { function: described } = entry;
  if (!isFields(described)) throw wrong(`${where}.function`, 'an object with a name', described);
  return described;
}

function nameOf(name: unknown, where: string): string {
  if (typeof name === 'string' && NAME.test(name)) return name;
  throw wrong(where, "1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'", name);
}

function idOf(id: unknown, where: string): string {
  if (typeof id === 'string' && id.length >= 1 && id.length <= MAX_ID_CHARS) return id;
  throw wrong(where, `the id of a call, of 1 to ${MAX_ID_CHARS} characters`, id);
}

/** With ", " and ": " between the parts, as the server writes it. */
function schemaText(schema: unknown, where: string): string {
  if (!isFields(schema)) throw wrong(where, 'a JSON schema (an object)', schema);
  let text: string;
  try {
    text = JSON.stringify(schema);
  } catch {
    throw new TypeError(`${where}: must be a JSON schema, but it goes in a circle`);
  }
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= MAX_SCHEMA_BYTES) return text;
  throw new TypeError(`${where}: has ${bytes} bytes, but may have ${MAX_SCHEMA_BYTES}`);
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function wrong(where: string, wanted: string, came: unknown): TypeError {
  return new TypeError(`${where}: must be ${wanted}, but is ${show(came)}`);
}

export function show(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value).slice(0, 100);
}
