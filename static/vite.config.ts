import { defineConfig } from 'vitest/config';

import { licences } from './build/licences.ts';
import { ortFiles } from './build/ort-files.ts';
import { serviceWorker } from './build/service-worker.ts';

/** Where `npm run dev` finds a running `localphi serve`. */
const SERVER = 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [ortFiles(), licences(), serviceWorker()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  build: {
    target: 'es2023',
    // The page's CSP allows neither inline scripts nor data: URLs other than images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
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
