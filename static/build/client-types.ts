import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

/** The declarations of what localphi.js exports besides types. */
const VALUES = `
export declare const createPhi: CreatePhi;

/** The version of this package. */
export declare const VERSION: string;
`;

/** `localphi.d.ts` beside localphi.js. */
export function clientTypes(): Plugin {
  let root = '';
  return {
    name: 'localphi:client-types',
    apply: 'build',
    configResolved(config) {
      root = config.root;
    },
    generateBundle() {
      const types = readFileSync(join(root, 'client', 'api.ts'), 'utf8');
      this.emitFile({ type: 'asset', fileName: 'localphi.d.ts', source: types + VALUES });
    },
  };
}

/** What the code knows of package.json. */
export function versionOf(root: string): Record<string, string> {
  const text = readFileSync(join(root, 'package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  return { __VERSION__: JSON.stringify(version) };
}
