/** What a model may ask for: of the page, quick, harmless and without a network; or of the server. */
import type { Tool } from '../../shared/chat';

export type Arguments = Readonly<Record<string, unknown>>;

export interface PageTool extends Tool {
  /** The result, as the model reads it. Throws a ToolError that tells the model what to do. */
  run(given: Arguments, opts: { signal: AbortSignal }): string | Promise<string>;
}

/** Why a tool has no result, as a sentence for the model. */
export class ToolError extends Error {}
