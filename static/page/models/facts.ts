/** What this browser can do for a model, as far as it tells. */
export interface Facts {
  /** The name is empty where the browser keeps it to itself. */
  readonly gpu: { readonly name: string; readonly software: boolean } | null;
  readonly cores: number;
  /** Whether several cores can work at once, which takes an isolated page. */
  readonly threads: boolean;
  /** Rounded, and at most what the browser likes to tell. */
  readonly memoryBytes: number | null;
  readonly usageBytes: number | null;
  readonly quotaBytes: number | null;
}

/** The parts of WebGPU that are asked here. */
interface AdapterInfo {
  readonly vendor?: string;
  readonly architecture?: string;
  readonly description?: string;
  readonly isFallbackAdapter?: boolean;
}

interface Gpu {
  requestAdapter(): Promise<{ readonly info?: AdapterInfo } | null>;
}

export async function readFacts(): Promise<Facts> {
  const { hardwareConcurrency, deviceMemory } = navigator as { deviceMemory?: number } & Navigator;
  const storage = await estimate();
  return {
    gpu: await readGpu(),
    cores: hardwareConcurrency,
    threads: crossOriginIsolated && hardwareConcurrency > 1,
    memoryBytes: deviceMemory === undefined ? null : deviceMemory * 1e9,
    usageBytes: storage.usage ?? null,
    quotaBytes: storage.quota ?? null,
  };
}

async function readGpu(): Promise<Facts['gpu']> {
  try {
    const gpu = Reflect.get(navigator, 'gpu') as Gpu | undefined;
    const adapter = await gpu?.requestAdapter();
    if (!adapter) return null;
    const info: AdapterInfo = adapter.info ?? {};
    const { vendor = '', architecture = '', description = '' } = info;
    const name = description || [vendor, architecture].filter((part) => part !== '').join(' ');
    return { name, software: info.isFallbackAdapter === true || /swiftshader/i.test(name) };
  } catch {
    return null; // asked for and refused
  }
}

async function estimate(): Promise<StorageEstimate> {
  try {
    return await navigator.storage.estimate();
  } catch {
    return {};
  }
}
