import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'vite';
import type { Plugin, ResolvedConfig, Rolldown } from 'vite';

const ENTRY = 'service/main.ts';
const NAME = 'sw.js';
const START = 'index.html';

/** Nobody needs these to open the page. */
const LEFT_OUT = /\.map$|\.d\.ts$|^licences\.txt$/;

/**
 * `sw.js` beside the page, with the list of what the build made.
 * A build of its own: a service worker is one file, and its name must stay the same.
 */
export function serviceWorker(): Plugin {
  let config: ResolvedConfig;
  return {
    name: 'localphi:service-worker',
    apply: 'build',
    enforce: 'post',
    configResolved(resolved) {
      config = resolved;
    },
    async generateBundle(_, bundle) {
      const { root, publicDir } = config;
      const made = Object.values(bundle).map(
        (output) =>
          [output.fileName, output.type === 'chunk' ? output.code : output.source] as const,
      );
      const copied = readdirSync(publicDir).map(
        (name) => [name, readFileSync(join(publicDir, name))] as const,
      );
      const files = [...made, ...copied].filter(([name]) => !LEFT_OUT.test(name)).sort(byName);
      const hash = createHash('sha256');
      for (const [name, content] of files) hash.update(name).update(content);
      const shell = {
        version: hash.digest('hex').slice(0, 16),
        files: files.map(([name]) => (name === START ? '/' : `/${name}`)),
      };
      this.emitFile({ type: 'asset', fileName: NAME, source: await compile(root, shell) });
    },
  };
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}

async function compile(root: string, shell: unknown): Promise<string> {
  const made = (await build({
    root,
    configFile: false,
    publicDir: false,
    logLevel: 'error',
    define: { __SHELL__: JSON.stringify(shell) },
    build: {
      write: false,
      target: 'es2023',
      lib: { entry: ENTRY, formats: ['es'], fileName: () => NAME },
    },
  })) as Rolldown.RolldownOutput[] | Rolldown.RolldownOutput;
  const [output] = Array.isArray(made) ? made : [made];
  return output!.output[0].code;
}
