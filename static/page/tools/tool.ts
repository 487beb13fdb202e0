/** What the page can do for a model: quick, harmless, without a network. */
import type { Tool } from '../../shared/prompt';

export type Arguments = Readonly<Record<string, unknown>>;

export interface PageTool extends Tool {
  /** The result, as the model reads it. Throws a ToolError that tells the model what to do. */
  run(given: Arguments): string;
}

/** Why a tool has no result, as a sentence for the model. */
export class ToolError extends Error {}
