/**
 * What the page and the worker say to each other.
 * Every exchange is one `PageMessage` with an id, then `WorkerMessage`s with the same id;
 * the last of them is `loaded`, `unavailable`, `done`, `kept`, `removed`, `checked` or `error`.
 * `cancel`, `pause`, `resume` and `go-on` steer an exchange that is under way. `alive` belongs to none.
 */
import type { JsonFormat, Message, Role, Tool } from './chat';
import type { ErrorShape } from './errors';

export type { Message, Role };

/** Devices that run the model in this browser, best first. */
export const BROWSER_DEVICES = ['webgpu', 'webnn', 'wasm'] as const;

export type BrowserDevice = (typeof BROWSER_DEVICES)[number];

export type Device = BrowserDevice | 'server';

export type DeviceChoice = 'auto' | Device;

/** Why a device is not in use. `detail` is for people who want to know more. */
export interface Reason {
  readonly code:
    | 'no-webgpu'
    | 'no-adapter'
    | 'no-f16'
    | 'software-adapter'
    | 'no-webnn'
    | 'opt-in'
    | 'no-simd'
    | 'no-variant'
    | 'too-large'
    | 'wrong-answers'
    | 'too-slow'
    | 'failed'
    | 'stopped'
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
export type LoadNote = 'one-thread' | 'not-stored' | 'stored-manifest' | 'repaired';

/**
 * `waiting`: another tab fetches the files, and the bytes are its own as far as it tells.
 * `files`: they are fetched here. `session`: they are at hand, and the device gets ready.
 */
export interface LoadProgress {
  readonly stage: 'waiting' | 'files' | 'session';
  /** `retrying`: the server keeps us waiting. */
  readonly state: 'running' | 'retrying' | 'paused';
  /** Bytes at hand so far, and in all. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Of the last seconds; null until there is enough to tell. */
  readonly bytesPerSecond: number | null;
  readonly secondsLeft: number | null;
}

/** A model of which the browser keeps something. */
export interface KeptModel {
  readonly id: string;
  readonly name: string;
  readonly keptBytes: number;
}

/** What this page takes of the browser's storage. */
export interface StorageReport {
  readonly models: readonly KeptModel[];
  /** `memory`: nothing outlives the visit. */
  readonly place: 'opfs' | 'cache' | 'memory';
  /** All that the page keeps, and what it may keep; null where the browser does not tell. */
  readonly usageBytes: number | null;
  readonly quotaBytes: number | null;
  /** Whether the browser asks before it deletes anything. */
  readonly persistent: boolean;
}

/** What came of comparing a model's files with its manifest. */
export interface CheckReport {
  readonly checkedBytes: number;
  /** Names of the files that were damaged and are whole again. */
  readonly repaired: readonly string[];
}

export interface ModelSummary {
  readonly id: string;
  readonly name: string;
  /** Most tokens that it reads as it was loaded, and that it could read on its device. */
  readonly contextLength: number;
  readonly longestContext: number;
  /** What each of them takes of memory; null where the manifest does not say. */
  readonly tokenBytes: number | null;
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

export type EndReason = 'stop' | 'length' | 'tool_calls' | 'cancelled';

/** A call of a tool in an answer: it begins, then its arguments come, the JSON text of an object. */
export type CallPiece =
  | {
      readonly type: 'call';
      readonly index: number;
      readonly callId: string;
      readonly name: string;
    }
  | { readonly type: 'arguments'; readonly index: number; readonly text: string };

/** Ids of one exchange, for comparing devices with each other. */
export interface AnswerIds {
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
}

/** Whether tools are called: as the model likes, at least one, none, or the one named. */
export type ToolChoice = 'auto' | 'required' | 'none' | { readonly name: string };

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
  /** Name of a LoRA adapter of the model. */
  readonly adapter?: string;
  /** What the model may call. It calls only these, with arguments that fit their schemas. */
  readonly tools?: readonly Tool[];
  readonly toolChoice?: ToolChoice;
  /** Whether several calls may come at once; they may unless this is false. */
  readonly parallelToolCalls?: boolean;
  /** The answer is JSON that fits this. */
  readonly answerFormat?: JsonFormat;
  /** What the answer begins with, made elsewhere: it goes on after these, and is told from the first. */
  readonly begunIds?: readonly number[];
  /** Go on to `maxTokens`, whatever the model thinks of it: for measuring. */
  readonly ignoreEnd?: boolean;
}

export interface LoadMessage {
  readonly type: 'load';
  readonly id: number;
  readonly modelId: string;
  readonly choice: 'auto' | BrowserDevice;
  /** Compute with one thread, where several have failed; counts for the first load of a worker. */
  readonly oneThread: boolean;
  /** Read no more tokens than this; null for all that the model can. */
  readonly contextLength: number | null;
}

export interface ChatMessage {
  readonly type: 'chat';
  readonly id: number;
  readonly messages: readonly Message[];
  readonly options: ChatOptions;
}

/** Asks what the browser keeps of models. */
export interface KeptMessage {
  readonly type: 'kept';
  readonly id: number;
}

/** Deletes what the browser keeps of a model. One that is in use goes on until it is loaded again. */
export interface RemoveMessage {
  readonly type: 'remove';
  readonly id: number;
  readonly modelId: string;
}

/**
 * Compares a model's files with its manifest and fetches damaged chunks again; a model that is in use
 * then gets a new session. Unless forced, files are passed over that were compared not long ago.
 */
export interface CheckMessage {
  readonly type: 'check';
  readonly id: number;
  readonly modelId: string;
  readonly force: boolean;
}

/** Ends the exchange `id` early; no effect on one that is over. */
export interface CancelMessage {
  readonly type: 'cancel';
  readonly id: number;
}

/**
 * The server's access key, null for none, and where it is, if not where the worker came from (without a
 * slash at the end). Counts for what is fetched from then on. Has no answer.
 */
export interface KeyMessage {
  readonly type: 'key';
  readonly key: string | null;
  readonly serverUrl?: string;
}

/** Holds the download of the exchange `id`, or lets it go on. */
export interface PauseMessage {
  readonly type: 'pause' | 'resume';
  readonly id: number;
}

/** Yes to the question that the exchange `id` asked last (`plan`, `space`); `cancel` is no. */
export interface GoOnMessage {
  readonly type: 'go-on';
  readonly id: number;
}

export type PageMessage =
  | LoadMessage
  | ChatMessage
  | KeptMessage
  | RemoveMessage
  | CheckMessage
  | CancelMessage
  | PauseMessage
  | GoOnMessage;

export type WorkerMessage = { readonly id: number } & (
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  /** A large download is about to begin; time to ask that it be kept. Waits for `go-on`. */
  | { readonly type: 'plan'; readonly fetchBytes: number }
  /** The browser will not keep the files; `go-on` fetches them for this visit only. */
  | { readonly type: 'space'; readonly needsBytes: number; readonly freeBytes: number | null }
  | {
      readonly type: 'loaded';
      readonly device: BrowserDevice;
      readonly model: ModelSummary;
      readonly rungs: readonly RungReport[];
      readonly notes: readonly LoadNote[];
    }
  | { readonly type: 'unavailable'; readonly rungs: readonly RungReport[] }
  | { readonly type: 'reading'; readonly doneTokens: number; readonly totalTokens: number }
  /** A part of the answer, with the ids chosen since the last one. */
  | { readonly type: 'text'; readonly text: string; readonly ids: readonly number[] }
  | (CallPiece & { readonly ids: readonly number[] })
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
  | { readonly type: 'kept'; readonly storage: StorageReport }
  | { readonly type: 'removed' }
  | {
      readonly type: 'checked';
      readonly report: CheckReport;
      /** Where the model got a new session for it, else null. */
      readonly rungs: readonly RungReport[] | null;
    }
  | { readonly type: 'error'; readonly error: ErrorShape }
  /** Once, with the id 0: the worker holds this lock as long as it lives. */
  | { readonly type: 'alive'; readonly lock: string }
  /** While loading: the device that is tried now, for when the worker does not survive it. */
  | { readonly type: 'trying'; readonly device: BrowserDevice }
);
