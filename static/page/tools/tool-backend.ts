/** A backend that has tools run where the model calls them, and lets it go on. */
import type { ChatOptions, Message } from '../../shared/protocol';
import type { AnswerEnd, AnswerHandlers, Backend } from '../backend';
import { ToolRun } from './run';
import type { StoredRun } from './run';
import type { Arguments, PageTool } from './tool';

/** How often a model may call before it has to answer. */
const MOST_ROUNDS = 4;

interface Call {
  readonly id: string;
  readonly name: string;
  arguments: string;
}

export class ToolBackend implements Backend {
  readonly #backend: Backend;
  readonly #tools: readonly PageTool[];
  readonly #onRun: (run: ToolRun) => void;

  /** onRun: told each call; what it asks waits for `decide`. */
  constructor(backend: Backend, tools: readonly PageTool[], onRun: (run: ToolRun) => void) {
    this.#backend = backend;
    this.#tools = tools;
    this.#onRun = onRun;
  }

  async chat(
    messages: readonly Message[],
    options: ChatOptions,
    handlers: AnswerHandlers,
    opts: { signal: AbortSignal },
  ): Promise<AnswerEnd> {
    const tools = this.#tools.map(({ name, description, parameters }) => ({
      ...{ name, description, parameters },
    }));
    let asked = messages;
    for (let round = 1; ; round++) {
      const toolChoice = round < MOST_ROUNDS ? 'auto' : 'none';
      const calls: Call[] = [];
      let content = '';
      const listening: AnswerHandlers = {
        ...handlers,
        onText: (text) => {
          content += text;
          handlers.onText(text);
        },
        onTakenBack: (characters) => {
          content = content.slice(0, content.length - characters);
          handlers.onTakenBack?.(characters);
        },
        onCall: (piece) => {
          if (piece.type === 'call') {
            calls[piece.index] = { id: piece.callId, name: piece.name, arguments: '' };
          } else calls[piece.index]!.arguments += piece.text;
        },
      };
      const held = { ...options, tools, toolChoice } as const;
      const end = await this.#backend.chat(asked, held, listening, opts);
      if (end.reason !== 'tool_calls') return end;
      const results: Message[] = [];
      for (const call of calls) results.push(await this.#run(call, opts));
      asked = [...asked, { role: 'assistant', content, toolCalls: calls }, ...results];
    }
  }

  async #run(call: Call, opts: { signal: AbortSignal }): Promise<Message> {
    const run = new ToolRun(call.name, call.arguments);
    this.#onRun(run);
    const tool = this.#tools.find(({ name }) => name === call.name);
    const content = await run.resolve(() => {
      if (!tool) throw new Error(`There is no tool '${call.name}'.`);
      return tool.run(JSON.parse(call.arguments) as Arguments, opts);
    }, opts);
    return { role: 'tool', content, toolCallId: call.id };
  }
}

/** An answer with the calls that it was made of, as the model reads it in the next turn. */
export function messagesOf(content: string, runs: readonly StoredRun[]): readonly Message[] {
  const answer: readonly Message[] = content === '' ? [] : [{ role: 'assistant', content }];
  if (runs.length === 0) return answer;
  const toolCalls = runs.map((run, i) => ({
    ...{ id: `call_${i}`, name: run.name, arguments: run.arguments },
  }));
  const results = runs.map(({ result }, i): Message => ({
    ...{ role: 'tool', content: result, toolCallId: `call_${i}` },
  }));
  return [{ role: 'assistant', content: '', toolCalls }, ...results, ...answer];
}
