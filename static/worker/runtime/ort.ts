/**
 * The one door to ONNX Runtime Web.
 *
 * Its default entry (`onnxruntime-web`, `/all`) is the JSEP build, which answers wrongly without an
 * error for fp16 models on GPUs without f16 and for INT4 GatherBlockQuantized. Only the two builds
 * with the native WebGPU provider are shipped; each also serves the WASM rung.
 */
import type * as Ort from 'onnxruntime-web';

import { asOrtWasm } from './ort-heap';
import type { OrtWasm } from './ort-heap';

export type { InferenceSession, Tensor } from 'onnxruntime-web';

export type OrtModule = typeof Ort;

/** Beside the folder of the worker's script, wherever that lies. */
const FOLDER = '../ort/';
const MOST_THREADS = 8;

let loading: Promise<OrtModule> | null = null;

/** ONNX Runtime Web, fetched and configured once; a failed fetch may be tried again. */
export function loadOrt(): Promise<OrtModule> {
  loading ??= importOrt().catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}

let mostThreads = MOST_THREADS;

/** For browsers that promise threads, and have no memory to share between them. Before ONNX Runtime is loaded. */
export function useOneThread(): void {
  mostThreads = 1;
}

/** All cores up to 8, or 1 where the page is not cross-origin isolated. */
export function threadCount(): number {
  return self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, mostThreads) : 1;
}

/** Whether the build for JSPI is used: WebAssembly that can wait for JavaScript. */
export function hasJspi(): boolean {
  return 'Suspending' in WebAssembly;
}

/** ONNX Runtime's WebAssembly, once it is loaded; null where it is not what we know. */
export function ortWasm(): OrtWasm | null {
  return asOrtWasm((globalThis as { localphiOrtWasm?: unknown }).localphiOrtWasm);
}

async function importOrt(): Promise<OrtModule> {
  // JSPI: a smaller download, cheaper calls, and weights read from a Blob piece by piece.
  const build = hasJspi() ? 'ort.jspi.min.mjs' : 'ort.webgpu.min.mjs';
  const url = new URL(FOLDER + build, self.location.href).href;
  const ort = (await import(/* @vite-ignore */ url)) as OrtModule;
  const path = (name: string) => new URL(FOLDER + name, self.location.href).href;
  const wasm = hasJspi() ? 'jspi' : 'asyncify';
  ort.env.wasm.wasmPaths = {
    mjs: path(`module.${wasm}.mjs`), // ours: keeps what ONNX Runtime makes of its WebAssembly, see ortWasm
    wasm: path(`ort-wasm-simd-threaded.${wasm}.wasm`),
  };
  ort.env.wasm.numThreads = threadCount();
  ort.env.logLevel = 'error';
  return ort;
}
