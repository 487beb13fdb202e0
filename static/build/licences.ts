import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';

const modules = join(dirname(fileURLToPath(import.meta.url)), '..', 'node_modules');

/** Everything whose code reaches the browser. */
const BUNDLED = [
  '@huggingface/tokenizers',
  '@preact/signals',
  '@preact/signals-core',
  'devlop',
  'highlight.js',
  'idb',
  'lowlight',
  'marked',
  'onnxruntime-web',
  'pdfjs-dist',
  'preact',
  'temml',
];

/** Published without a licence file; the text is the one in its source repository. */
const ONNX_RUNTIME_LICENCE = `MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

Its WebAssembly contains third-party code, listed in ThirdPartyNotices.txt of
https://github.com/microsoft/onnxruntime (tag v1.30.0).
`;

function notice(name: string): string {
  const folder = join(modules, name);
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const text =
    name === 'onnxruntime-web'
      ? ONNX_RUNTIME_LICENCE
      : readFileSync(join(folder, licenceFile(folder)), 'utf8');
  return `${name} ${version}\n\n${text.trim()}\n${name === 'pdfjs-dist' ? tablesLicence(folder) : ''}`;
}

/** Of the tables of codes that come with it. */
function tablesLicence(folder: string): string {
  return `\n${readFileSync(join(folder, 'cmaps', 'LICENSE'), 'utf8').trim()}\n`;
}

/** Packages do not agree on how to write its name. */
function licenceFile(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e(\.md|\.txt)?$/i.test(name));
  if (file === undefined) throw new Error(`${folder} has no licence file`);
  return file;
}

/** The licence texts of the bundled packages in licences.txt. */
export function licences(): Plugin {
  return {
    name: 'localphi:licences',
    generateBundle() {
      this.emitFile({
        type: 'asset',
        fileName: 'licences.txt',
        source: BUNDLED.map(notice).join(`\n${'-'.repeat(78)}\n\n`),
      });
    },
  };
}
