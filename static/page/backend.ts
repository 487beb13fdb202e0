import type {
  AnswerIds,
  AnswerStats,
  BrowserDevice,
  ChatOptions,
  EndReason,
  Message,
} from '../shared/protocol';

/** Told what happens to an answer, in order. */
export interface AnswerHandlers {
  onReading(doneTokens: number, totalTokens: number): void;
  onText(text: string): void;
  /** The same answer goes on on another device. */
  onMoved(device: BrowserDevice): void;
}

export interface AnswerEnd {
  readonly reason: EndReason;
  readonly stats: AnswerStats;
  /** Null where ids never leave the server. */
  readonly ids: AnswerIds | null;
}

/** What can be asked of an answer. Devices of the browser ignore what `ChatOptions` has not. */
export interface AnswerOptions extends ChatOptions {
  readonly topP?: number;
  /** How many of the likeliest tokens to choose from; 0 for all. */
  readonly topK?: number;
  readonly seed?: number;
}

/** Something that answers: the worker or the server. */
export interface Backend {
  /**
   * Stream one answer; resolves when it has ended. Aborting the signal ends it as `cancelled`.
   * Rejects with a LocalphiError.
   */
  chat(
    messages: readonly Message[],
    options: AnswerOptions,
    handlers: AnswerHandlers,
    opts: { signal: AbortSignal },
  ): Promise<AnswerEnd>;
}
