/** What a conversation is made of. */

export type Role = 'system' | 'user' | 'assistant' | 'tool';

export interface Message {
  readonly role: Role;
  readonly content: string;
  /** What an assistant turn called. */
  readonly toolCalls?: readonly ToolCall[];
  /** Which call a tool turn answers. */
  readonly toolCallId?: string;
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
}

export interface Tool {
  readonly name: string;
  readonly description: string;
  /** JSON text of the schema of the arguments. */
  readonly parameters: string;
}

/** The answer's text is JSON. schema: JSON text of the schema it fits; null is any object. */
export interface JsonFormat {
  readonly schema: string | null;
}
