import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';

const NAME = 'pdf/cmaps.json';

const source = join(
  dirname(createRequire(import.meta.url).resolve('pdfjs-dist/package.json')),
  'cmaps',
);

/**
 * The tables of Chinese, Japanese and Korean codes that PDFs name instead of carrying them, in one file: a service
 * worker would fetch each of 168.
 */
export function pdfFiles(): Plugin {
  return {
    name: 'localphi:pdf-files',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: NAME, source: tables() });
    },
    configureServer(server) {
      server.middlewares.use(`/${NAME}`, (_, response) => {
        response.setHeader('Content-Type', 'application/json');
        response.end(tables());
      });
    },
  };
}

function tables(): string {
  const names = readdirSync(source).filter((name) => name.endsWith('.bcmap'));
  const packed = names.map((name) => [name, readFileSync(join(source, name), 'base64')] as const);
  return JSON.stringify(Object.fromEntries(packed));
}
