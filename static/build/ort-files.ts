import { createReadStream, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';

/** The two builds with the native WebGPU provider; never the JSEP ones (see README, silent traps). */
const FILES = [
  'ort.jspi.min.mjs',
  'ort-wasm-simd-threaded.jspi.mjs',
  'ort-wasm-simd-threaded.jspi.wasm',
  'ort.webgpu.min.mjs',
  'ort-wasm-simd-threaded.asyncify.mjs',
  'ort-wasm-simd-threaded.asyncify.wasm',
];

/** Ours, in the place of a script of ONNX Runtime that makes its WebAssembly: the same, and keeps it. */
const WRAPPERS = new Map(
  ['jspi', 'asyncify'].map((build) => [
    `module.${build}.mjs`,
    `import make from './ort-wasm-simd-threaded.${build}.mjs';
export default async (settings) => (globalThis.localphiOrtWasm = await make(settings));
`,
  ]),
);

const source = dirname(createRequire(import.meta.url).resolve('onnxruntime-web/jspi'));

/**
 * ONNX Runtime Web under /ort/, byte for byte as published, and two scripts of our own beside it.
 * Its scripts locate each other and start threads by URL, which a bundler would break.
 */
export function ortFiles(): Plugin {
  return {
    name: 'localphi:ort-files',
    generateBundle() {
      for (const name of FILES) {
        this.emitFile({
          type: 'asset',
          fileName: `ort/${name}`,
          source: readFileSync(join(source, name)),
        });
      }
      for (const [name, text] of WRAPPERS) {
        this.emitFile({ type: 'asset', fileName: `ort/${name}`, source: text });
      }
    },
    configureServer(server) {
      server.middlewares.use('/ort', (request, response, next) => {
        const name = request.url?.split('?')[0]?.slice(1) ?? '';
        const wrapper = WRAPPERS.get(name);
        if (wrapper === undefined && !FILES.includes(name)) {
          next();
          return;
        }
        const type = name.endsWith('.wasm') ? 'application/wasm' : 'text/javascript';
        response.setHeader('Content-Type', type);
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
        if (wrapper !== undefined) response.end(wrapper);
        else createReadStream(join(source, name)).pipe(response);
      });
    },
  };
}
