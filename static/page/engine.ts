/** Which backend answers: walks from the browser's devices to the server. */
import { signal } from '@preact/signals-core';
import type { ReadonlySignal } from '@preact/signals-core';

import { LocalphiError, fromShape, messageOf, toShape } from '../shared/errors';
import type { ErrorShape } from '../shared/errors';
import { BROWSER_DEVICES } from '../shared/protocol';
import type {
  BrowserDevice,
  CheckReport,
  Device,
  DeviceChoice,
  LoadNote,
  LoadProgress,
  Reason,
  RungReport,
  StorageReport,
} from '../shared/protocol';
import type { Backend } from './backend';
import type { LoadHandlers, Loaded } from './local-backend';

/** A browser backend as the engine needs it; see LocalBackend. */
export interface BrowserBackend extends Backend {
  load(
    modelId: string,
    choice: 'auto' | BrowserDevice,
    handlers: LoadHandlers,
    opts: { signal: AbortSignal },
  ): Promise<Loaded>;
  hold(paused: boolean): void;
  kept(): Promise<StorageReport>;
  remove(modelId: string): Promise<void>;
  check(modelId: string, opts: { force: boolean }): Promise<CheckReport>;
  close(): void;
}

/** Makes what the engine works with; a seam for tests. */
export interface EngineParts {
  /** Throws when the browser has no workers. */
  browser(onRungs: (rungs: readonly RungReport[]) => void): BrowserBackend;
  server(modelId: string): Backend;
  /** Ids of the server's models, default first. Rejects when it cannot be reached. */
  modelIds(): Promise<readonly string[]>;
  /** The model to use when the server cannot be asked. */
  rememberedModelId(): string | null;
  rememberModelId(id: string): void;
  /** Asks the browser not to delete what this page keeps. Settles in any case, before long. */
  persist(): Promise<void>;
}

/** The browser will not keep the model; whether to fetch it all the same is for the user to say. */
export interface SpaceQuestion {
  readonly needsBytes: number;
  /** Null where the browser does not tell. */
  readonly freeBytes: number | null;
}

export type EngineState =
  | {
      readonly phase: 'loading';
      readonly progress: LoadProgress | null;
      readonly question: SpaceQuestion | null;
    }
  | {
      readonly phase: 'ready';
      readonly device: Device;
      readonly modelName: string;
      readonly notes: readonly LoadNote[];
      /** Why it is not the device one would expect; null when it is. */
      readonly detour: Reason | null;
    }
  | { readonly phase: 'failed'; readonly error: ErrorShape };

/** One load and what belongs to it. A later one replaces it; what it then still does is ignored. */
interface Run {
  readonly choice: DeviceChoice;
  modelId: string;
  browser: BrowserBackend | null;
  active: Backend | null;
  /** Stops the download. */
  readonly stop: AbortController;
  /** Yes to the question that is open. */
  goOn: () => void;
}

/** Old files are compared with the manifest once the page has come to rest. */
const CHECK_AFTER_MS = 5000;

export class Engine {
  readonly #parts: EngineParts;
  readonly #requestedModelId: string | null;
  readonly #state = signal<EngineState>(CONNECTING);
  readonly #rungs = signal<readonly RungReport[]>(ALL_UNTRIED);
  readonly #choice = signal<DeviceChoice>('auto');
  readonly #modelInUse = signal<string | null>(null);
  #run: Run = newRun('auto');
  #started: Promise<void> = Promise.resolve();

  /** requestedModelId: null for the server's default. */
  constructor(parts: EngineParts, requestedModelId: string | null) {
    this.#parts = parts;
    this.#requestedModelId = requestedModelId;
  }

  get state(): ReadonlySignal<EngineState> {
    return this.#state;
  }

  /** Every device with what is known about it, the server last. */
  get rungs(): ReadonlySignal<readonly RungReport[]> {
    return this.#rungs;
  }

  get choice(): ReadonlySignal<DeviceChoice> {
    return this.#choice;
  }

  /** Null until the server has told what there is. */
  get modelId(): ReadonlySignal<string | null> {
    return this.#modelInUse;
  }

  /** Load the model anew, from the chosen device downwards. Frees what an earlier start held. */
  start(choice: DeviceChoice): void {
    this.#run.browser?.close();
    const run = newRun(choice);
    this.#run = run;
    this.#choice.value = choice;
    this.#rungs.value = ALL_UNTRIED;
    this.#state.value = CONNECTING;
    this.#started = this.#settle(run, this.#load(run));
  }

  /** Holds the download, or lets it go on. */
  hold(paused: boolean): void {
    this.#run.browser?.hold(paused);
  }

  /** Gives the download up; the server answers where there is one. What has arrived is kept. */
  stop(): void {
    this.#run.stop.abort();
  }

  /** Frees everything; what is under way rejects. May be called twice, and started again. */
  close(): void {
    this.#run.stop.abort();
    this.#run.browser?.close();
    this.#run = newRun('auto');
    this.#started = Promise.resolve();
    this.#state.value = CONNECTING;
  }

  /** Fetches the model although the browser will not keep it. */
  goOn(): void {
    this.#run.goOn();
  }

  /** Something in this browser that knows what is kept. The caller closes it if it is `own`. */
  storage(): { readonly backend: BrowserBackend; readonly own: boolean } {
    const { active, browser } = this.#run;
    if (browser && active === browser) return { backend: browser, own: false };
    return { backend: this.#parts.browser(() => {}), own: true };
  }

  /** What answers, once it can. Rejects with the reason when nothing can. */
  async ready(): Promise<Backend> {
    for (let run; run !== this.#run;) {
      run = this.#run;
      await this.#started;
    }
    if (this.#state.value.phase === 'failed') throw fromShape(this.#state.value.error);
    if (!this.#run.active) throw new LocalphiError('worker', 'nothing was started');
    return this.#run.active;
  }

  /** Go over to the server after the browser's last device failed. False when that is no way out. */
  async fallBack(error: LocalphiError): Promise<boolean> {
    const run = this.#run;
    const lost = error.kind === 'device' || error.kind === 'worker';
    if (!lost || run.active === null || run.active !== run.browser) return false;
    run.browser.close();
    run.active = null;
    this.#markBrowser(reasonOf(error));
    this.#started = this.#settle(run, this.#useServer(run, error));
    await this.#started;
    return this.#run.active !== null;
  }

  /** Resolves in any case; what the work throws becomes the state, unless a later start took over. */
  async #settle(run: Run, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#show(run, { phase: 'failed', error: toShape(error, 'worker') });
    }
  }

  async #load(run: Run): Promise<void> {
    run.modelId = await this.#modelId();
    if (run === this.#run) this.#modelInUse.value = run.modelId;
    if (run.choice === 'server') {
      await this.#useServer(run, null);
      return;
    }
    const problem = await this.#loadBrowser(run, run.choice);
    if (problem && run === this.#run) await this.#useServer(run, problem);
  }

  /** The wanted model, or the server's default; the one of the last visit without a server. */
  async #modelId(): Promise<string> {
    let known: readonly string[];
    try {
      known = await this.#parts.modelIds();
    } catch (error) {
      const remembered = this.#requestedModelId ?? this.#parts.rememberedModelId();
      if (remembered === null) throw error;
      return remembered;
    }
    const id = this.#requestedModelId ?? known[0] ?? '';
    if (!known.includes(id)) {
      const models = known.join(', ') || 'none';
      throw new LocalphiError('server', `there is no model '${id}'; the server has: ${models}`);
    }
    this.#parts.rememberModelId(id);
    return id;
  }

  /** Null when a device of this browser holds, else why none does. */
  async #loadBrowser(run: Run, choice: 'auto' | BrowserDevice): Promise<LocalphiError | null> {
    try {
      run.browser = this.#parts.browser((rungs) => {
        this.#moved(run, rungs);
      });
      const loaded = await run.browser.load(run.modelId, choice, this.#loadHandlers(run), run.stop);
      if (run !== this.#run) return null;
      this.#rungs.value = [...loaded.rungs, serverReport('untried', null)];
      if (!loaded.device) return new LocalphiError('device', whyNone(loaded.rungs));
      run.active = run.browser;
      this.#show(run, readyInBrowser(choice, loaded, loaded.device));
      setTimeout(() => void this.#check(run), CHECK_AFTER_MS);
      return null;
    } catch (error) {
      const problem = fromShape(toShape(error, 'worker'));
      if (run === this.#run) this.#markBrowser(reasonOf(problem));
      return problem;
    }
  }

  #loadHandlers(run: Run): LoadHandlers {
    return {
      onProgress: (progress) => {
        this.#show(run, { phase: 'loading', progress, question: null });
      },
      onPlan: () => this.#parts.persist(),
      onSpace: (needsBytes, freeBytes) =>
        new Promise((resolve) => {
          run.goOn = resolve;
          const question = { needsBytes, freeBytes };
          this.#show(run, { phase: 'loading', progress: null, question });
        }),
    };
  }

  /** Compares files that were not for long; damaged ones are repaired, and a note says so. */
  async #check(run: Run): Promise<void> {
    if (run !== this.#run || run.active === null || run.active !== run.browser) return;
    const report = await run.browser.check(run.modelId, { force: false }).catch(() => null);
    const state = this.#state.value;
    if (run !== this.#run || state.phase !== 'ready' || !report?.repaired.length) return;
    this.#state.value = { ...state, notes: [...state.notes, 'repaired'] };
  }

  /** problem: why no device of the browser is used, or null when the server was chosen. */
  async #useServer(run: Run, problem: LocalphiError | null): Promise<void> {
    try {
      await this.#parts.modelIds();
    } catch (error) {
      this.#markServer(run, 'failed', { code: 'no-server', detail: messageOf(error) });
      throw problem ?? error;
    }
    run.active = this.#parts.server(run.modelId);
    this.#markServer(run, 'active', null);
    this.#show(run, {
      ...{ phase: 'ready', device: 'server', modelName: run.modelId, notes: [] },
      detour: problem && reasonOf(problem),
    });
  }

  #moved(run: Run, rungs: readonly RungReport[]): void {
    const state = this.#state.value;
    const device = rungs.find((rung) => rung.state === 'active')?.device;
    if (run !== this.#run || state.phase !== 'ready' || !device) return;
    this.#rungs.value = [...rungs, serverReport('untried', null)];
    this.#state.value = { ...state, device };
  }

  #markBrowser(reason: Reason): void {
    this.#rungs.value = this.#rungs.value.map((rung) =>
      rung.device === 'server' || rung.state === 'failed'
        ? rung
        : { device: rung.device, state: 'failed', reason },
    );
  }

  #markServer(run: Run, state: RungReport['state'], reason: Reason | null): void {
    if (run !== this.#run) return;
    const others = this.#rungs.value.filter(({ device }) => device !== 'server');
    this.#rungs.value = [...others, serverReport(state, reason)];
  }

  #show(run: Run, state: EngineState): void {
    if (run === this.#run) this.#state.value = state;
  }
}

const CONNECTING: EngineState = { phase: 'loading', progress: null, question: null };

function newRun(choice: DeviceChoice): Run {
  const stop = new AbortController();
  return { choice, modelId: '', browser: null, active: null, stop, goOn: () => {} };
}

const ALL_UNTRIED: readonly RungReport[] = [...BROWSER_DEVICES, 'server' as const].map(
  (device) => ({ device, state: 'untried', reason: null }),
);

function serverReport(state: RungReport['state'], reason: Reason | null): RungReport {
  return { device: 'server', state, reason };
}

function readyInBrowser(
  choice: 'auto' | BrowserDevice,
  { model, notes, rungs }: Loaded,
  device: BrowserDevice,
): EngineState {
  const chosen = rungs.find((rung) => rung.device === choice);
  const detour = choice === 'auto' || choice === device ? null : (chosen?.reason ?? null);
  return { phase: 'ready', device, modelName: model?.name ?? '', notes, detour };
}

/** What the last device said that was tried and failed. */
function whyNone(rungs: readonly RungReport[]): string {
  const last = rungs.findLast(({ reason }) => reason?.detail !== undefined);
  return last?.reason?.detail ?? 'no device of this browser works';
}

function reasonOf({ kind, message }: LocalphiError): Reason {
  if (kind === 'stopped') return { code: 'stopped' };
  return { code: kind === 'worker' ? 'no-worker' : 'failed', detail: message };
}
