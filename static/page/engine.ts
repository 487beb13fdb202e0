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
  ModelSummary,
  Reason,
  RungReport,
  StorageReport,
} from '../shared/protocol';
import type { Backend } from './backend';
import type { LoadHandlers, LoadOptions, Loaded, Step } from './local-backend';

/** A browser backend as the engine needs it; see LocalBackend. */
export interface BrowserBackend extends Backend {
  load(modelId: string, step: Step, handlers: LoadHandlers, opts: LoadOptions): Promise<Loaded>;
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
  /** Most tokens that the model shall read in this browser; null or left out: all that it can. */
  contextLength?(modelId: string): number | null;
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
      /** Null on the server. */
      readonly model: ModelSummary | null;
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
  /** What `active` computes on; null until there is one. */
  device: Device | null;
  /** Where its last worker began, and the device that it tried last. */
  step: Step;
  trying: BrowserDevice | null;
  /** When a worker died last, by `Date.now`; 0 for never. */
  diedMs: number;
  /** Devices that have failed in earlier workers. */
  readonly failures: Map<BrowserDevice, Reason>;
  /** Stops the download. */
  readonly stop: AbortController;
  /** Yes to the question that is open. */
  goOn: () => void;
}

/** A worker that dies again so soon is not given the same device once more. */
const SOON_MS = 60_000;

/** Old files are compared with the manifest once the page has come to rest. */
const CHECK_AFTER_MS = 5000;

export class Engine {
  readonly #parts: EngineParts;
  readonly #requestedModelId: string | null;
  readonly #state = signal<EngineState>(CONNECTING);
  readonly #rungs = signal<readonly RungReport[]>(ALL_UNTRIED);
  readonly #choice = signal<DeviceChoice>('auto');
  readonly #modelInUse = signal<string | null>(null);
  readonly #wantedContext = signal<number | null>(null);
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

  /** The context length that was wished for when the model was loaded last. */
  get wantedContext(): ReadonlySignal<number | null> {
    return this.#wantedContext;
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

  /** The server, for an answer that this browser cannot make; null where it is not to be asked. */
  server(): Backend | null {
    try {
      return this.#parts.server(this.#run.modelId);
    } catch {
      return null;
    }
  }

  /**
   * Finds what answers instead of `lost`, which threw the error: another worker, a device further down, the
   * server; or, where the server has gone, a device of this browser. The device; null when that is no way out.
   */
  async replace(lost: Backend, error: LocalphiError): Promise<Device | null> {
    const run = this.#run;
    if (run.active === lost) {
      const work = this.#replacement(run, lost, error);
      if (!work) return null;
      this.#started = this.#settle(run, work);
    }
    await this.ready().catch(() => {}); // the error is that of the answer
    return this.#run.active === null || this.#run.active === lost ? null : this.#run.device;
  }

  #replacement(run: Run, lost: Backend, error: LocalphiError): Promise<void> | null {
    if (lost !== run.browser) {
      return error.kind === 'network' && run.choice === 'server'
        ? this.#withoutServer(run, lost)
        : null;
    }
    if (error.kind !== 'device' && error.kind !== 'worker') return null;
    run.browser.close();
    run.active = null;
    return this.#goOn(run, this.#stepAfter(run, error), error);
  }

  /** After a loss: at a step of the ladder, null for the server. */
  async #goOn(run: Run, step: Step | null, error: LocalphiError): Promise<void> {
    const problem = step ? await this.#loadBrowser(run, step) : error;
    if (!problem || run !== this.#run) return;
    this.#markBrowser(reasonOf(error));
    await this.#useServer(run, error);
  }

  /** A worker that died is replaced on the same device, once; what else fails makes room for the next. */
  #stepAfter(run: Run, { kind, message }: LocalphiError): Step | null {
    const { device, step, diedMs } = run;
    if (device === null || device === 'server') return null;
    const nowMs = Date.now();
    if (kind === 'worker') run.diedMs = nowMs;
    if (kind === 'worker' && nowMs - diedMs > SOON_MS) return { ...step, choice: device };
    run.failures.set(device, { code: 'failed', detail: message });
    return stepBelow(device, step);
  }

  /** The model of this browser, if it is kept here and the server has really gone. */
  async #withoutServer(run: Run, server: Backend): Promise<void> {
    const away = await this.#parts.modelIds().then(
      () => false,
      () => true,
    );
    if (!away || !(await this.#keeps(run.modelId)) || run !== this.#run) return;
    const before = this.#state.value;
    if (await this.#loadBrowser(run, { choice: 'auto', oneThread: false })) {
      run.active = server;
      run.device = 'server';
      this.#show(run, before);
    } else this.#markServer(run, 'failed', { code: 'no-server' });
  }

  async #keeps(modelId: string): Promise<boolean> {
    try {
      const { backend, own } = this.storage();
      const { models } = await backend.kept().finally(() => {
        if (own) backend.close();
      });
      return models.some(({ id, keptBytes }) => id === modelId && keptBytes > 0);
    } catch {
      return false; // no workers, no storage
    }
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
    if (run === this.#run) {
      this.#modelInUse.value = run.modelId;
      this.#wantedContext.value = this.#parts.contextLength?.(run.modelId) ?? null;
    }
    if (run.choice === 'server') {
      await this.#useServer(run, null);
      return;
    }
    const problem = await this.#loadBrowser(run, { choice: run.choice, oneThread: false });
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
  async #loadBrowser(run: Run, first: Step): Promise<LocalphiError | null> {
    let problem: LocalphiError | null = null;
    for (let step: Step | null = first; step && run === this.#run;) {
      run.step = step;
      run.trying = null;
      const at: Step = step;
      try {
        problem = await this.#loadWorker(run, at);
        if (!problem) return null;
        step = threadsFailed(this.#rungs.value) ? stepBelow('wasm', at) : null;
      } catch (error) {
        problem = fromShape(toShape(error, 'worker'));
        step = this.#stepAfterLoad(run, at, problem);
      }
      if (step) run.browser?.close();
    }
    if (problem && run === this.#run) this.#markBrowser(reasonOf(problem));
    return problem;
  }

  /** Below the device that the worker did not survive; null where something else went wrong. */
  #stepAfterLoad(run: Run, step: Step, problem: LocalphiError): Step | null {
    if (problem.kind !== 'worker' || run.trying === null) return null;
    run.failures.set(run.trying, reasonOf(problem));
    return stepBelow(run.trying, step);
  }

  /** As `#loadBrowser`, with one worker. Rejects when it died, or the files are at fault. */
  async #loadWorker(run: Run, step: Step): Promise<LocalphiError | null> {
    run.browser = this.#parts.browser((rungs) => {
      this.#moved(run, rungs);
    });
    const loaded = await run.browser.load(run.modelId, step, this.#loadHandlers(run), {
      signal: run.stop.signal,
      contextLength: this.#wantedContext.peek(),
    });
    if (run !== this.#run) return null;
    this.#showRungs(run, loaded.rungs);
    if (!loaded.device) return new LocalphiError('device', whyNone(loaded.rungs));
    run.active = run.browser;
    run.device = loaded.device;
    this.#show(run, readyInBrowser(run.choice, loaded, loaded.device, this.#rungs.value));
    setTimeout(() => void this.#check(run), CHECK_AFTER_MS);
    return null;
  }

  #loadHandlers(run: Run): LoadHandlers {
    const again = this.#state.value.phase === 'ready';
    return {
      onTrying: (device) => {
        run.trying = device;
      },
      onProgress: (progress) => {
        // In the middle of an answer only what takes long is worth a word: files that are not here any more.
        if (again && progress.loadedBytes === progress.totalBytes) return;
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
    run.device = 'server';
    this.#markServer(run, 'active', null);
    this.#show(run, {
      ...{ phase: 'ready', device: 'server', modelName: run.modelId, model: null, notes: [] },
      detour: problem && reasonOf(problem),
    });
  }

  #moved(run: Run, rungs: readonly RungReport[]): void {
    const state = this.#state.value;
    const device = rungs.find((rung) => rung.state === 'active')?.device;
    if (run !== this.#run || state.phase !== 'ready' || !device) return;
    run.device = device;
    this.#showRungs(run, rungs);
    this.#state.value = { ...state, device };
  }

  /** Those of a worker, with what failed in workers before it. */
  #showRungs(run: Run, rungs: readonly RungReport[]): void {
    const known = rungs.map((rung) => {
      const reason = rung.device === 'server' ? undefined : run.failures.get(rung.device);
      return reason && rung.state !== 'active'
        ? { ...rung, state: 'failed' as const, reason }
        : rung;
    });
    this.#rungs.value = [...known, serverReport('untried', null)];
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
  const step: Step = { choice: choice === 'server' ? 'auto' : choice, oneThread: false };
  return {
    ...{ choice, modelId: '', browser: null, active: null, device: null },
    ...{ step, trying: null, diedMs: 0, failures: new Map<BrowserDevice, Reason>() },
    ...{ stop, goOn: () => {} },
  };
}

/** Where to begin after a device has failed in a worker; null where nothing of the browser is left. */
function stepBelow(device: BrowserDevice, { oneThread }: Step): Step | null {
  const below = BROWSER_DEVICES.slice(BROWSER_DEVICES.indexOf(device) + 1);
  const next = below.find((other) => other !== 'webnn'); // that one waits for a wish
  if (next) return { choice: next, oneThread };
  return oneThread || !globalThis.crossOriginIsolated ? null : { choice: device, oneThread: true };
}

/** Whether WASM failed as it does where threads cannot share their memory. */
function threadsFailed(rungs: readonly RungReport[]): boolean {
  return rungs.some(
    ({ device, reason }) => device === 'wasm' && reason?.code === 'failed' && reason.detail,
  );
}

const ALL_UNTRIED: readonly RungReport[] = [...BROWSER_DEVICES, 'server' as const].map(
  (device) => ({ device, state: 'untried', reason: null }),
);

function serverReport(state: RungReport['state'], reason: Reason | null): RungReport {
  return { device: 'server', state, reason };
}

function readyInBrowser(
  choice: DeviceChoice,
  { model, notes }: Loaded,
  device: BrowserDevice,
  rungs: readonly RungReport[],
): EngineState {
  const chosen = rungs.find((rung) => rung.device === choice);
  const detour = choice === 'auto' || choice === device ? null : (chosen?.reason ?? null);
  return { phase: 'ready', device, modelName: model?.name ?? '', model, notes, detour };
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
