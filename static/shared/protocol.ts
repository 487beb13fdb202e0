/**
 * What the page and the worker say to each other.
 * Every exchange is one `PageMessage` with an id, then `WorkerMessage`s with the same id;
 * the last of them is `loaded`, `unavailable`, `done` or `error`.
 */
import type { ErrorShape } from './errors';

export type Role = 'system' | 'user' | 'assistant' | 'tool';

export interface Message {
  readonly role: Role;
  readonly content: string;
}

/** Devices that run the model in this browser, best first. */
export const BROWSER_DEVICES = ['webgpu', 'wasm'] as const;

export type BrowserDevice = (typeof BROWSER_DEVICES)[number];

export type Device = BrowserDevice | 'server';

export type DeviceChoice = 'auto' | Device;

/** Why a device is not in use. `detail` is for people who want to know more. */
export interface Reason {
  readonly code:
    | 'no-webgpu'
    | 'no-adapter'
    | 'software-adapter'
    | 'no-simd'
    | 'no-variant'
    | 'wrong-answers'
    | 'too-slow'
    | 'failed'
    | 'no-server'
    | 'no-worker';
  readonly detail?: string;
}

/** `skipped` devices could run and were passed over; `failed` ones cannot. */
export interface RungReport {
  readonly device: Device;
  readonly state: 'active' | 'untried' | 'skipped' | 'failed';
  readonly reason: Reason | null;
}

/** Things that are worth a quiet word, though everything works. */
export type LoadNote = 'one-thread' | 'not-stored' | 'stored-manifest';

export interface LoadProgress {
  readonly stage: 'files' | 'session';
  /** Bytes at hand so far, and in all. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Null until there is enough to tell. */
  readonly bytesPerSecond: number | null;
}

export interface ModelSummary {
  readonly id: string;
  readonly name: string;
  readonly contextLength: number;
}

/** How one answer went. Rates leave out the prompt. */
export interface AnswerStats {
  readonly device: Device;
  readonly promptTokens: number;
  /** Of those, the ones that were read for an earlier answer and were still in the cache. */
  readonly cachedTokens: number;
  readonly tokens: number;
  readonly firstTokenMs: number;
  /** Null when there were too few tokens to tell. */
  readonly tokensPerSecond: number | null;
}

export type EndReason = 'stop' | 'length' | 'cancelled';

/** Ids of one exchange, for comparing devices with each other. */
export interface AnswerIds {
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
}

/** What can be asked of an answer; what is left out is the model's own, or off. */
export interface ChatOptions {
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  /** How many of the likeliest tokens to choose from; 0 for all. */
  readonly topK?: number;
  readonly minP?: number;
  /** The same seed on the same device repeats an answer. */
  readonly seed?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly stop?: readonly string[];
}

export interface LoadMessage {
  readonly type: 'load';
  readonly id: number;
  readonly modelId: string;
  readonly choice: 'auto' | BrowserDevice;
}

export interface ChatMessage {
  readonly type: 'chat';
  readonly id: number;
  readonly messages: readonly Message[];
  readonly options: ChatOptions;
}

/** Ends the exchange `id` early; no effect on one that is over. */
export interface CancelMessage {
  readonly type: 'cancel';
  readonly id: number;
}

/** The server's access key, null for none; counts for what is fetched from then on. Has no answer. */
export interface KeyMessage {
  readonly type: 'key';
  readonly key: string | null;
}

export type PageMessage = LoadMessage | ChatMessage | CancelMessage;

export type WorkerMessage = { readonly id: number } & (
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  | {
      readonly type: 'loaded';
      readonly device: BrowserDevice;
      readonly model: ModelSummary;
      readonly rungs: readonly RungReport[];
      readonly notes: readonly LoadNote[];
    }
  | { readonly type: 'unavailable'; readonly rungs: readonly RungReport[] }
  | { readonly type: 'reading'; readonly doneTokens: number; readonly totalTokens: number }
  | { readonly type: 'text'; readonly text: string }
  | {
      readonly type: 'moved';
      readonly device: BrowserDevice;
      readonly rungs: readonly RungReport[];
    }
  | {
      readonly type: 'done';
      readonly reason: EndReason;
      readonly stats: AnswerStats;
      readonly ids: AnswerIds;
    }
  | { readonly type: 'error'; readonly error: ErrorShape }
);
