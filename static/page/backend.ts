import type {
  AnswerIds,
  AnswerStats,
  BrowserDevice,
  CallPiece,
  ChatOptions,
  EndReason,
  Message,
} from '../shared/protocol';

/** Told what happens to an answer, in order. */
export interface AnswerHandlers {
  onReading(doneTokens: number, totalTokens: number): void;
  onText(text: string): void;
  /** A call of a tool begins, or its arguments go on; only where tools were offered. */
  onCall?(piece: CallPiece): void;
  /** The same answer goes on on another device. */
  onMoved(device: BrowserDevice): void;
}

export interface AnswerEnd {
  readonly reason: EndReason;
  readonly stats: AnswerStats;
  /** Null where ids never leave the server. */
  readonly ids: AnswerIds | null;
}

/** Something that answers: the worker or the server. */
export interface Backend {
  /**
   * Stream one answer; resolves when it has ended. Aborting the signal ends it as `cancelled`.
   * Rejects with a LocalphiError.
   */
  chat(
    messages: readonly Message[],
    options: ChatOptions,
    handlers: AnswerHandlers,
    opts: { signal: AbortSignal },
  ): Promise<AnswerEnd>;
}
