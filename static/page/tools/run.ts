/** One call of a tool: asked for, perhaps allowed, and what came of it. */
import { computed, signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';

import { messageOf } from '../../shared/errors';
import { untilAborted } from '../until-aborted';
import { passagesIn } from './citations';
import type { Passage } from './citations';

export const RUN_STATES = ['done', 'failed', 'refused'] as const;

export type RunState = 'asking' | 'running' | (typeof RUN_STATES)[number];

/** A run as it is kept. result: what the model was told; a reason where it failed. */
export interface StoredRun {
  readonly name: string;
  /** JSON text of an object. */
  readonly arguments: string;
  readonly state: (typeof RUN_STATES)[number];
  readonly result: string;
}

const REFUSED = 'The user did not allow this call. Answer without it.';

export class ToolRun {
  readonly name: string;
  readonly arguments: string;
  readonly #now = signal<{ readonly state: RunState; readonly result: string }>({
    ...{ state: 'asking', result: '' },
  });
  /** Of documents, if it has searched in them. */
  readonly passages: ReadonlySignal<readonly Passage[]> = computed(() => {
    const { state, result } = this.#now.value;
    return state === 'done' ? passagesIn(result) : [];
  });
  readonly #decided: Promise<boolean>;
  #decide: (allowed: boolean) => void = () => {};

  constructor(name: string, given: string) {
    this.name = name;
    this.arguments = given;
    this.#decided = new Promise((resolve) => {
      this.#decide = resolve;
    });
  }

  static restored({ name, arguments: given, state, result }: StoredRun): ToolRun {
    const run = new ToolRun(name, given);
    run.#now.value = { state, result };
    return run;
  }

  get now(): ReadonlySignal<{ readonly state: RunState; readonly result: string }> {
    return this.#now;
  }

  /** Null while nothing has come of it. */
  get stored(): StoredRun | null {
    const { state, result } = this.#now.value;
    if (state === 'asking' || state === 'running') return null;
    return { name: this.name, arguments: this.arguments, state, result };
  }

  /** The person's word; the first one counts. */
  decide(allowed: boolean): void {
    this.#decide(allowed);
  }

  /** Waits for the person, then runs; the result. Rejects when aborted before there is one. */
  async resolve(
    run: () => string | Promise<string>,
    { signal }: { signal: AbortSignal },
  ): Promise<string> {
    const allowed = await untilAborted(this.#decided, signal).catch((error: unknown) => {
      this.#now.value = { state: 'refused', result: REFUSED };
      throw error;
    });
    if (!allowed) this.#now.value = { state: 'refused', result: REFUSED };
    else {
      this.#now.value = { state: 'running', result: '' };
      try {
        this.#now.value = { state: 'done', result: await run() };
      } catch (error) {
        this.#now.value = { state: 'failed', result: messageOf(error) };
        signal.throwIfAborted();
      }
    }
    return this.#now.value.result;
  }
}
