import type {
  AnswerIds,
  AnswerStats,
  CallPiece,
  ChatOptions,
  Device,
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
  onMoved(device: Device): void;
  /** Ids of the answer: after them a text or a call follows. Not told by the server. */
  onIds?(ids: readonly number[]): void;
  /**
   * The answer is begun anew, and goes another way: its last characters do not count any more. Left out where
   * what was said cannot be unsaid; the answer then fails.
   */
  onTakenBack?(characters: number): void;
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
