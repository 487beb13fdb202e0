/** Builds the npm package of localphi.js into client-package/: `python static/npm.py client`. */
import { defineConfig } from 'vite';

import { clientPackage } from './build/client-package.ts';
import { clientTypes, versionOf } from './build/client-types.ts';
import { licences } from './build/licences.ts';
import { ortFiles } from './build/ort-files.ts';

export default defineConfig({
  plugins: [ortFiles(), licences(), clientTypes(), clientPackage()],
  define: versionOf(import.meta.dirname),
  publicDir: false,
  base: './',
  worker: { format: 'es' },
  build: {
    target: 'es2023',
    outDir: 'client-package',
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { localphi: 'client/localphi.ts' },
      preserveEntrySignatures: 'exports-only',
      output: { entryFileNames: '[name].js' },
    },
  },
});
