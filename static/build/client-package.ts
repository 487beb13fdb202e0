import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

/** Makes an npm package of the folder that is built: its package.json, what to read, the example. */
export function clientPackage(): Plugin {
  let root = '';
  return {
    name: 'localphi:client-package',
    apply: 'build',
    configResolved(config) {
      root = config.root;
    },
    generateBundle() {
      const read = (...path: string[]) => readFileSync(join(root, ...path), 'utf8');
      const own = JSON.parse(read('package.json')) as { version: string; license: string };
      const files: Record<string, string> = {
        'package.json': `${JSON.stringify(describe(own), null, 2)}\n`,
        'README.md': read('client', 'README.md'),
        'example.html': read('client', 'example', 'index.html'),
        LICENSE: read('..', 'LICENSE'),
      };
      for (const [fileName, source] of Object.entries(files)) {
        this.emitFile({ type: 'asset', fileName, source });
      }
    },
  };
}

function describe({ version, license }: { version: string; license: string }) {
  return {
    name: 'localphi',
    version,
    license,
    description:
      'Phi in the browser, with an OpenAI-shaped interface: WebGPU, WebAssembly, or a server',
    keywords: ['phi', 'onnxruntime-web', 'webgpu', 'llm', 'openai'],
    type: 'module',
    main: './localphi.js',
    types: './localphi.d.ts',
    exports: {
      '.': { types: './localphi.d.ts', default: './localphi.js' },
      './package.json': './package.json',
    },
    sideEffects: false,
  };
}
