/** Phi in the browser for pages of one's own: the page's engine and worker, without the page. */
import { Engine } from '../page/engine';
import type { SpaceQuestion } from '../page/engine';
import { LocalBackend } from '../page/local-backend';
import { persistStorage } from '../page/persist';
import { RemoteBackend, fetchModelIds } from '../page/remote-backend';
import { startWorker } from '../page/start-worker';
import { untilAborted } from '../page/until-aborted';
import { LocalphiError } from '../shared/errors';
import type { CreatePhi, Phi, PhiDevice } from './api';
import { ChatCompletions } from './completions';
import { parseOptions } from './options';
import type { ParsedOptions } from './options';

export type * from './api';

declare const __VERSION__: string;

/** The version of this package. */
export const VERSION = __VERSION__;

export const createPhi: CreatePhi = async (options = {}) => {
  const phi = new LocalPhi(parseOptions(options));
  try {
    await phi.load(options.signal ?? NEVER);
    return phi;
  } catch (error) {
    phi.dispose();
    throw error;
  }
};

const NEVER = new AbortController().signal;

class LocalPhi implements Phi {
  readonly chat: Phi['chat'];
  readonly #options: ParsedOptions;
  readonly #engine: Engine;
  readonly #stopWatching: () => void;
  #model: string;
  #device: PhiDevice = 'server';
  #disposed = false;

  constructor(options: ParsedOptions) {
    this.#options = options;
    this.#model = options.model ?? '';
    const fetchUrl = fetchFrom(options);
    this.#engine = new Engine(
      {
        browser: (onRungs) => {
          if (!isSecureContext) throw new LocalphiError('worker', INSECURE);
          return new LocalBackend(startWorker(options.apiKey, options.baseUrl), onRungs);
        },
        server: (modelId) => {
          if (!options.server) throw new LocalphiError('device', this.#whyNoDevice());
          return new RemoteBackend(modelId, fetchUrl);
        },
        modelIds: () => fetchModelIds(fetchUrl),
        rememberedModelId: () => null,
        rememberModelId: (id) => {
          this.#model = id;
        },
        persist: () => (options.persist ? persistStorage() : Promise.resolve()),
      },
      options.model,
    );
    this.chat = { completions: new ChatCompletions(this.#engine, () => this.#known()) };
    this.#stopWatching = this.#watch();
  }

  get model(): string {
    return this.#model;
  }

  get device(): PhiDevice {
    return this.#device;
  }

  async load(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#engine.start(this.#options.device);
    await untilAborted(this.#engine.ready(), signal);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#stopWatching();
    this.#engine.close();
  }

  /** The id for answers. Throws once disposed. */
  #known(): string {
    if (this.#disposed)
      throw new LocalphiError('worker', 'this Phi was disposed of; make a new one');
    return this.#model;
  }

  #watch(): () => void {
    const { onProgress, onDevice, onNoSpace } = this.#options;
    let asked: SpaceQuestion | null = null;
    let told: PhiDevice | null = null;
    return this.#engine.state.subscribe((state) => {
      if (state.phase === 'ready' && state.device !== told) {
        told = this.#device = state.device;
        onDevice?.(state.device);
      } else if (state.phase === 'loading') {
        if (state.progress) onProgress?.(state.progress);
        if (!state.question || state.question === asked) return;
        asked = state.question;
        void this.#decide(onNoSpace?.(asked.needsBytes, asked.freeBytes) ?? true);
      }
    });
  }

  async #decide(answer: boolean | Promise<boolean>): Promise<void> {
    const yes = await Promise.resolve(answer).catch(() => false);
    if (yes) this.#engine.goOn();
    else this.#engine.stop();
  }

  #whyNoDevice(): string {
    const reasons = this.#engine.rungs.value
      .filter(({ reason }) => reason !== null)
      .map(({ device, reason }) => `${device}: ${reason?.detail ?? reason?.code ?? ''}`);
    return `no device of this browser can run the model (${reasons.join('; ') || 'none was tried'})`;
  }
}

const INSECURE = 'browsers run models only in pages that came by HTTPS or from this machine';

/** `fetch` of addresses on the server, which begin with a slash, with the key. */
function fetchFrom({ baseUrl, apiKey }: ParsedOptions): typeof fetch {
  return (input, init) => {
    const url = typeof input === 'string' ? `${baseUrl ?? ''}${input}` : input;
    if (apiKey === null) return fetch(url, init);
    const headers = new Headers(init?.headers);
    headers.set('Authorization', `Bearer ${apiKey}`);
    return fetch(url, { ...init, headers });
  };
}
