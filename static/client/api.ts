/**
 * The types of localphi.js. This file, as it stands, is its `localphi.d.ts`: it holds types only and
 * imports nothing.
 */

/** Where a model can run. `server` is the localphi server; the others are in this browser. */
export type PhiDevice = 'webgpu' | 'webnn' | 'wasm' | 'server' | (string & {});

export interface PhiOptions {
  /** Id of a model of the server; its default where left out. */
  readonly model?: string;
  /**
   * `auto` (the default): the best device of this browser that holds, else the server.
   * Another device: that one, and what comes after it when it fails.
   */
  readonly device?: 'auto' | PhiDevice;
  /** Whether the server may answer where no device of this browser holds; true unless said otherwise. */
  readonly server?: boolean;
  /** Address of the localphi server, such as `http://localhost:8000`; the page's own origin if left out. */
  readonly baseUrl?: string;
  /** The server's access key, where it wants one. */
  readonly apiKey?: string;
  /** Gives loading up. What has been fetched by then is kept, and not fetched again. */
  readonly signal?: AbortSignal;
  /** Told how loading goes, several times a second. */
  readonly onProgress?: (progress: PhiProgress) => void;
  /** Told which device answers: after loading, and when another one takes over. */
  readonly onDevice?: (device: PhiDevice) => void;
  /** Whether to ask the browser never to delete the model by itself; some ask the person. */
  readonly persist?: boolean;
  /**
   * The browser has too little room to keep the model (freeBytes: null where it does not tell).
   * True fetches it for this visit only, false goes on to the server. True where left out.
   */
  readonly onNoSpace?: (needsBytes: number, freeBytes: number | null) => boolean | Promise<boolean>;
}

export interface PhiProgress {
  /** `waiting`: another tab fetches the files. `files`: they are fetched. `session`: the device gets ready. */
  readonly stage: 'waiting' | 'files' | 'session';
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Null until there is enough to tell. */
  readonly secondsLeft: number | null;
}

export type PhiMessage =
  | { readonly role: 'system' | 'user'; readonly content: string }
  | {
      readonly role: 'assistant';
      readonly content?: string | null;
      readonly tool_calls?: readonly ChatCompletionMessageToolCall[];
    }
  | { readonly role: 'tool'; readonly content: string; readonly tool_call_id: string };

/** A function that the model may call. */
export interface ChatCompletionTool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** The JSON schema of the arguments; none are taken where it is left out. */
    readonly parameters?: Readonly<Record<string, unknown>>;
    readonly strict?: boolean | null;
  };
}

/** A call that the model made. */
export interface ChatCompletionMessageToolCall {
  readonly id: string;
  readonly type: 'function';
  /** arguments: JSON text that fits the schema of the tool. */
  readonly function: { readonly name: string; readonly arguments: string };
}

export type ChatCompletionToolChoice =
  | 'auto'
  | 'none'
  | 'required'
  | { readonly type: 'function'; readonly function: { readonly name: string } };

export type ResponseFormat =
  | { readonly type: 'text' | 'json_object' }
  | {
      readonly type: 'json_schema';
      readonly json_schema: {
        readonly name?: string;
        readonly schema: Readonly<Record<string, unknown>>;
        readonly strict?: boolean | null;
      };
    };

/** As in OpenAI's API. What is left out or null is the model's own, or off. */
export interface ChatCompletionParams {
  readonly messages: readonly PhiMessage[];
  /** May be left out: the loaded model, with an adapter perhaps: "localphi-demo:poems". Another one is an error. */
  readonly model?: string | null;
  /** Name of a LoRA adapter of the model, as the server has it: computed with where the model is. */
  readonly adapter?: string | null;
  readonly stream?: boolean | null;
  /** include_usage: one more chunk at the end, without choices. */
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  readonly temperature?: number | null;
  readonly top_p?: number | null;
  readonly top_k?: number | null;
  readonly min_p?: number | null;
  /** The same seed on the same device repeats an answer. */
  readonly seed?: number | null;
  readonly presence_penalty?: number | null;
  readonly frequency_penalty?: number | null;
  readonly repetition_penalty?: number | null;
  readonly stop?: string | readonly string[] | null;
  readonly n?: 1 | null;
  /** What the model may call; calls are always of these, with arguments that fit their schemas. */
  readonly tools?: readonly ChatCompletionTool[] | null;
  /** `auto` where left out: the model calls or answers. */
  readonly tool_choice?: ChatCompletionToolChoice | null;
  /** Whether several calls may come in one answer; true unless said otherwise. */
  readonly parallel_tool_calls?: boolean | null;
  /** JSON, perhaps of a schema: the answer always is that, unless `max_tokens` cuts it. */
  readonly response_format?: ResponseFormat | null;
}

export interface ChatCompletionParamsStreaming extends ChatCompletionParams {
  readonly stream: true;
}

export interface ChatCompletionParamsNonStreaming extends ChatCompletionParams {
  readonly stream?: false | null;
}

export type FinishReason = 'stop' | 'length' | 'tool_calls';

export interface CompletionUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  /** cached_tokens: of the prompt, what had been read for an earlier answer. */
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** Beside what OpenAI has: how the answer went. */
export interface PhiTimings {
  readonly device: PhiDevice;
  readonly first_token_ms: number;
  /** Without the prompt; null when there were too few tokens to tell. */
  readonly tokens_per_second: number | null;
}

export interface ChatCompletion {
  readonly id: string;
  readonly object: 'chat.completion';
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly choices: readonly [
    {
      readonly index: 0;
      /** content: null where there are calls and no text. */
      readonly message: {
        readonly role: 'assistant';
        readonly content: string | null;
        readonly tool_calls?: readonly ChatCompletionMessageToolCall[];
      };
      readonly finish_reason: FinishReason;
    },
  ];
  readonly usage: CompletionUsage;
  readonly timings: PhiTimings;
}

export interface ChatCompletionChunk {
  readonly id: string;
  readonly object: 'chat.completion.chunk';
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: 0;
    readonly delta: {
      readonly role?: 'assistant';
      readonly content?: string;
      readonly tool_calls?: readonly ChatCompletionToolCallDelta[];
    };
    readonly finish_reason: FinishReason | null;
  }[];
  readonly usage?: CompletionUsage;
  /** In the chunk with the finish_reason. */
  readonly timings?: PhiTimings;
}

/** A call begins (id, type and name), or its arguments go on. index tells calls apart. */
export interface ChatCompletionToolCallDelta {
  readonly index: number;
  readonly id?: string;
  readonly type?: 'function';
  readonly function: { readonly name?: string; readonly arguments: string };
}

/**
 * Chunks of one answer, to be read once. Leaving the loop, or aborting `controller` or the signal of the
 * request, ends the answer: the loop then ends without an error and without a finish_reason.
 */
export interface ChatCompletionStream extends AsyncIterable<ChatCompletionChunk> {
  readonly controller: AbortController;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | null;
}

export interface Completions {
  /**
   * One answer, whole or in chunks. Answers take turns: first come, first served. Rejects before the first
   * chunk with a TypeError for a parameter that cannot be used (its message names it), with a PhiError when
   * the conversation is too long (`context`) or nothing can answer, with an AbortError when cancelled.
   */
  create(
    params: ChatCompletionParamsStreaming,
    options?: RequestOptions,
  ): Promise<ChatCompletionStream>;
  create(
    params: ChatCompletionParamsNonStreaming,
    options?: RequestOptions,
  ): Promise<ChatCompletion>;
  create(
    params: ChatCompletionParams,
    options?: RequestOptions,
  ): Promise<ChatCompletion | ChatCompletionStream>;
}

/** A loaded model. */
export interface Phi {
  readonly model: string;
  /** What answers now; changes when a device fails and the next one takes over. */
  readonly device: PhiDevice;
  readonly chat: { readonly completions: Completions };
  /** Frees the worker, the model's memory and the GPU; answers under way reject. May be called twice. */
  dispose(): void;
}

/** `kind` tells errors apart: network, damaged, manifest, context, device, server, worker, adapter, … */
export interface PhiError extends Error {
  readonly name: 'LocalphiError';
  readonly kind: string;
}

/**
 * Loads a model and resolves once it can answer. Rejects with a TypeError for an option that cannot be
 * used, with a PhiError when nothing can answer, with an AbortError when the signal is aborted.
 */
export type CreatePhi = (options?: PhiOptions) => Promise<Phi>;
