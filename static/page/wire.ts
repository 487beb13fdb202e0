/** Tools, calls and formats as they are written to the server's API. */
import type { ChatOptions, Message } from '../shared/protocol';

export function wireMessage({ role, content, toolCalls, toolCallId }: Message): object {
  if (toolCallId !== undefined) return { role, content, tool_call_id: toolCallId };
  if (!toolCalls || toolCalls.length === 0) return { role, content };
  const calls = toolCalls.map(({ id, ...called }) => ({ id, type: 'function', function: called }));
  return { role, content, tool_calls: calls };
}

/** What holds the answer; nothing where nothing does. */
export function wireOfHeld(options: ChatOptions): object {
  const { tools, toolChoice = 'auto', parallelToolCalls = true, answerFormat } = options;
  const held = tools && {
    tools: tools.map(({ parameters, ...tool }) => ({
      type: 'function',
      function: { ...tool, parameters: JSON.parse(parameters) as unknown },
    })),
    tool_choice:
      typeof toolChoice === 'string' ? toolChoice : { type: 'function', function: toolChoice },
    parallel_tool_calls: parallelToolCalls,
  };
  const format = answerFormat && { response_format: wireFormat(answerFormat.schema) };
  return { ...held, ...format };
}

function wireFormat(schema: string | null): object {
  if (schema === null) return { type: 'json_object' };
  return {
    type: 'json_schema',
    json_schema: { name: 'answer', schema: JSON.parse(schema) as unknown },
  };
}
