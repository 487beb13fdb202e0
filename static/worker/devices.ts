/** The devices of this browser that can run a model, best first, and how to get onto one. */
import { LocalphiError, messageOf } from '../shared/errors';
import type { BrowserDevice, Reason, RungReport } from '../shared/protocol';
import { planWasm, planWebGpu } from './memory-plan';
import type { MemoryNeed } from './memory-plan';
import { openWasmSession, openWebGpuSession, requestAdapter } from './runtime/session';
import type { DecoderSession } from './runtime/decoder';
import type { SessionSource } from './runtime/session';
import { openWebNnSession, webNn } from './runtime/webnn-session';

/** What a device tells about itself. A usable one may still have a reason to be passed over. */
export interface Probe {
  readonly usable: boolean;
  readonly reason: Reason | null;
}

export interface Rung {
  readonly device: BrowserDevice;
  /** Name of the manifest's variant for this device. */
  readonly variant: string;
  probe(): Promise<Probe>;
  /** Why a model that needs so much has no room here, null when it may; before it is fetched. */
  plan(need: MemoryNeed): Promise<string | null>;
  /** How long `open` and the canary may take, if not as long as anywhere. */
  readonly timeoutMs?: number;
  /** Rejects when the session cannot be made. */
  open(source: SessionSource): Promise<DecoderSession>;
}

export const RUNGS: readonly Rung[] = [
  {
    ...{ device: 'webgpu', variant: 'webgpu-f16', probe: probeHalf, plan: planOnAdapter },
    open: openWebGpuSession,
  },
  {
    ...{ device: 'webgpu', variant: 'webgpu-f32', probe: probeWebGpu, plan: planOnAdapter },
    open: openWebGpuSession,
  },
  {
    ...{ device: 'webnn', variant: 'webnn', probe: probeWebNn, open: openWebNnSession },
    plan: () => Promise.resolve(null),
    timeoutMs: 30_000, // with operators that it does not have, it makes a session for ever
  },
  {
    ...{ device: 'wasm', variant: 'wasm', probe: probeWasm, open: openWasmSession },
    plan: (need) => Promise.resolve(planWasm(need, deviceGiB())),
  },
];

/** A device with a session that answers as it should. The session is the caller's. */
export interface Footing {
  readonly device: BrowserDevice;
  readonly session: DecoderSession;
}

/** Errors that would meet every rung alike: the files, not the device, are at fault. */
const FILE_ERRORS: ReadonlySet<string> = new Set([
  ...['network', 'damaged', 'manifest', 'server', 'stopped'],
]);

/** Walks down the rungs until one holds, and remembers why the others did not. */
export class Ladder {
  readonly #rungs: readonly Rung[];
  readonly #open: (rung: Rung) => Promise<DecoderSession>;
  /** By variant: a device can have several rungs. */
  readonly #reports = new Map<string, RungReport>();
  #at = 0;

  /** open: makes a session on a rung and checks its answers; its rejection is the reason to go on. */
  constructor(rungs: readonly Rung[], open: (rung: Rung) => Promise<DecoderSession>) {
    this.#rungs = rungs;
    this.#open = open;
  }

  /** One for each device: of the rung that is in use, else of the best one that may be. */
  get reports(): readonly RungReport[] {
    const reports = [...this.#reports.values()];
    return [...new Set(reports.map(({ device }) => device))].map((wanted) => {
      const own = reports.filter(({ device }) => device === wanted);
      const active = own.find(({ state }) => state === 'active');
      const usable = own.find(({ state }) => state !== 'failed');
      const telling = own.findLast(({ reason }) => reason?.code !== 'no-variant');
      return active ?? usable ?? telling ?? own.at(-1)!;
    });
  }

  /**
   * The first rung that holds, from the chosen one downwards; null when none does.
   * `auto` passes over rungs that have a reason for it. Rejects when the files are at fault.
   */
  async climb(choice: 'auto' | BrowserDevice): Promise<Footing | null> {
    for (const rung of this.#rungs) this.#report(rung, await probeReport(rung));
    this.#at = choice === 'auto' ? 0 : this.#rungs.findIndex(({ device }) => device === choice);
    return this.#walk(choice);
  }

  /** The next rung that holds, after the current one failed; null when none does. */
  async descend(reason: Reason): Promise<Footing | null> {
    const rung = this.#rungs[this.#at];
    if (!rung) return null;
    this.#report(rung, { state: 'failed', reason });
    this.#at += 1;
    return this.#walk('auto');
  }

  async #walk(choice: 'auto' | BrowserDevice): Promise<Footing | null> {
    for (; this.#at < this.#rungs.length; this.#at++) {
      const rung = this.#rungs[this.#at]!;
      const { device, variant } = rung;
      const { state } = this.#reports.get(variant)!;
      if (state === 'failed' || (state === 'skipped' && choice !== device)) continue;
      const session = await this.#try(rung);
      if (session) return { device, session };
    }
    return null;
  }

  async #try(rung: Rung): Promise<DecoderSession | null> {
    try {
      const session = await this.#open(rung);
      this.#report(rung, { state: 'active', reason: null });
      return session;
    } catch (error) {
      this.#report(rung, { state: 'failed', reason: reasonOf(error) });
      if (error instanceof LocalphiError && FILE_ERRORS.has(error.kind)) throw error;
      return null;
    }
  }

  #report({ device, variant }: Rung, report: Omit<RungReport, 'device'>): void {
    this.#reports.set(variant, { device, ...report });
  }
}

/** Why a device is not used, from what it threw. */
export function reasonOf(error: unknown): Reason {
  const kind = error instanceof LocalphiError ? error.kind : null;
  const detail = messageOf(error);
  if (kind === 'timeout') return { code: 'too-slow', detail };
  if (kind === 'variant') return { code: 'no-variant', detail };
  if (kind === 'memory') return { code: 'too-large', detail };
  if (kind === 'canary') return { code: 'wrong-answers', detail };
  return { code: 'failed', detail };
}

async function probeReport(rung: Rung): Promise<Omit<RungReport, 'device'>> {
  const { usable, reason } = await rung.probe();
  if (!usable) return { state: 'failed', reason };
  return { state: reason ? 'skipped' : 'untried', reason };
}

async function probeWebGpu(): Promise<Probe> {
  // Missing in browsers without WebGPU, whatever the types say.
  if (!('gpu' in navigator)) return { usable: false, reason: { code: 'no-webgpu' } };
  const adapter = await requestAdapter();
  if (!adapter) return { usable: false, reason: { code: 'no-adapter' } };
  return { usable: true, reason: isSoftware(adapter.info) ? { code: 'software-adapter' } : null };
}

async function probeHalf(): Promise<Probe> {
  const probe = await probeWebGpu();
  if (!probe.usable) return probe;
  const adapter = await requestAdapter();
  if (adapter?.features.has('shader-f16')) return probe;
  return { usable: false, reason: { code: 'no-f16' } };
}

async function planOnAdapter(need: MemoryNeed): Promise<string | null> {
  const adapter = await requestAdapter();
  return adapter && planWebGpu(need, adapter.limits);
}

/** Quicker than WASM on few machines so far, so it waits for a wish. */
function probeWebNn(): Promise<Probe> {
  const usable = webNn() !== null;
  return Promise.resolve({ usable, reason: { code: usable ? 'opt-in' : 'no-webnn' } });
}

/** Memory of the machine as far as the browser tells, which is up to 8 GiB; null where it does not. */
function deviceGiB(): number | null {
  return (navigator as { readonly deviceMemory?: number }).deviceMemory ?? null;
}

/** Adapters that compute on the CPU: right, but slower than WASM. */
function isSoftware({ isFallbackAdapter, architecture, description }: GPUAdapterInfo): boolean {
  return isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${architecture} ${description}`);
}

/** A function with one i32x4.dot_i16x8_s, which ONNX Runtime's WebAssembly is full of. */
const SIMD_MODULE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

function probeWasm(): Promise<Probe> {
  const usable = WebAssembly.validate(SIMD_MODULE);
  return Promise.resolve({ usable, reason: usable ? null : { code: 'no-simd' } });
}
