/** The access key of the server, where it wants one: kept, sent, and asked for when it is not taken. */
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';

import { untilAborted } from './until-aborted';

const STORED = 'localphi.server-key';
const UNAUTHORIZED = 401;

/** The server wants a key; `refused` when it did not take the one that was sent. */
export interface KeyRequest {
  readonly id: number;
  readonly refused: boolean;
}

export class ServerKey {
  readonly #request = signal<KeyRequest | null>(null);
  readonly #key = signal(read());
  readonly #fetch: typeof fetch;
  /** Settles when somebody has answered: whether there is a key to try. */
  #answered: Promise<boolean> | null = null;
  #answer: (given: boolean) => void = () => {};
  #lastId = 0;

  constructor(fetchUrl: typeof fetch = fetch.bind(globalThis)) {
    this.#fetch = fetchUrl;
  }

  /** What to ask the person for; null when there is nothing to ask. */
  get request(): ReadonlySignal<KeyRequest | null> {
    return this.#request;
  }

  get value(): ReadonlySignal<string | null> {
    return this.#key;
  }

  /**
   * `fetch` with the key. Where the server wants another, it waits until somebody has given one, and sends
   * the request again; when nobody does, the refusal is the response.
   */
  readonly fetch: typeof fetch = async (input, init) => {
    for (;;) {
      const sent = this.#key.peek();
      const response = await this.#send(sent, input, init);
      if (response.status !== UNAUTHORIZED) return response;
      if (sent !== this.#key.peek()) continue; // another request was quicker to ask
      const given = this.#ask(sent !== null);
      if (!(await (init?.signal ? untilAborted(given, init.signal) : given))) return response;
    }
  };

  /** Use this key. lasting: beyond this tab. */
  give(key: string, lasting: boolean): void {
    this.forget();
    this.#key.value = key;
    write(lasting ? 'localStorage' : 'sessionStorage', key);
    this.#settle(true);
  }

  /** Nobody gives a key now; what waits for one is refused. No effect on a later request. */
  decline({ id }: KeyRequest): void {
    if (this.#request.peek()?.id === id) this.#settle(false);
  }

  forget(): void {
    this.#key.value = null;
    write('localStorage', null);
    write('sessionStorage', null);
  }

  #send(key: string | null, ...[input, init]: Parameters<typeof fetch>): Promise<Response> {
    if (key === null) return this.#fetch(input, init);
    const headers = new Headers(init?.headers);
    headers.set('Authorization', `Bearer ${key}`);
    return this.#fetch(input, { ...init, headers });
  }

  #ask(refused: boolean): Promise<boolean> {
    this.#answered ??= new Promise((resolve) => {
      this.#answer = resolve;
      this.#request.value = { id: ++this.#lastId, refused };
    });
    return this.#answered;
  }

  #settle(given: boolean): void {
    this.#request.value = null;
    this.#answered = null;
    this.#answer(given);
  }
}

/** What a header can carry: anything else was a slip of the clipboard. */
export function parseKey(text: string): string | null {
  const key = text.trim().replace(/^Bearer\s+/i, '');
  return /^[\x21-\x7e]{1,256}$/.test(key) ? key : null;
}

type StorageName = 'localStorage' | 'sessionStorage';

function read(): string | null {
  try {
    return sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function write(name: StorageName, key: string | null): void {
  try {
    if (key === null) globalThis[name].removeItem(STORED);
    else globalThis[name].setItem(STORED, key);
  } catch {
    // Refused storage: the key lasts as long as the page.
  }
}
