import { defineConfig } from 'vitest/config';

import { clientTypes, versionOf } from './build/client-types.ts';
import { licences } from './build/licences.ts';
import { ortFiles } from './build/ort-files.ts';
import { pdfFiles } from './build/pdf-files.ts';
import { serviceWorker } from './build/service-worker.ts';

/** Where `npm run dev` finds a running `localphi serve`. */
const SERVER = 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [ortFiles(), pdfFiles(), licences(), clientTypes(), serviceWorker()],
  define: versionOf(import.meta.dirname),
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  // A page of somebody else may use localphi.js: it finds its worker by its own address.
  experimental: {
    renderBuiltUrl: (_, { hostType }) => (hostType === 'js' ? { relative: true } : undefined),
  },
  build: {
    target: 'es2023',
    // The page's CSP allows neither inline scripts nor data: URLs other than images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    rolldownOptions: {
      input: { index: 'index.html', bench: 'bench.html', localphi: 'client/localphi.ts' },
      preserveEntrySignatures: 'exports-only',
      output: {
        entryFileNames: ({ name }) =>
          name === 'localphi' ? 'localphi.js' : 'assets/[name]-[hash].js',
      },
    },
  },
  server: {
    headers: {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    },
    proxy: { '/v1': SERVER, '/models': SERVER, '/healthz': SERVER },
  },
  test: { include: ['tests/**/*.test.{ts,tsx}'] },
});
