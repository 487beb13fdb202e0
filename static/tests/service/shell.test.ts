import { afterEach, expect, test, vi } from 'vitest';

import { ShellCache } from '../../service/shell';

const SHELL = {
  version: 'two',
  files: ['/', '/assets/index-1.js', '/ort/ort.jspi.min.mjs', '/ort/ort.webgpu.min.mjs'],
};

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Caches in memory; `missing` are paths that the server does not have. */
function storage(missing: readonly string[] = []) {
  const all = new Map<string, Set<string>>([
    ['localphi-page-one', new Set(['/'])],
    ['of-somebody-else', new Set()],
  ]);
  vi.stubGlobal(
    'Request',
    class {
      readonly path: string;
      constructor(path: string) {
        this.path = path;
      }
    },
  );
  const open = (name: string) => {
    const files = all.get(name) ?? new Set<string>();
    all.set(name, files);
    return Promise.resolve({
      addAll: (requests: readonly { path: string }[]) => {
        if (requests.some(({ path }) => missing.includes(path))) {
          return Promise.reject(new TypeError('404'));
        }
        for (const { path } of requests) files.add(path);
        return Promise.resolve();
      },
      match: (path: string) =>
        Promise.resolve(files.has(path) ? new Response(`kept ${path}`) : undefined),
    });
  };
  const caches = {
    open,
    keys: () => Promise.resolve([...all.keys()]),
    delete: (name: string) => Promise.resolve(all.delete(name)),
  };
  return { all, caches: caches as unknown as CacheStorage };
}

function at(path: string): URL {
  return new URL(path, 'http://localhost:8000');
}

test('all files of the build are kept, and the ONNX Runtime that this browser uses', async () => {
  const { all, caches } = storage();
  await new ShellCache(SHELL, true, caches).fill();
  expect([...all.get('localphi-page-two')!]).toEqual([
    '/',
    '/assets/index-1.js',
    '/ort/ort.jspi.min.mjs',
  ]);
});

test('half a build is not kept', async () => {
  const { all, caches } = storage(['/assets/index-1.js']);
  await expect(new ShellCache(SHELL, true, caches).fill()).rejects.toThrow('404');
  expect([...all.keys()]).not.toContain('localphi-page-two');
});

test('older builds are forgotten, and only they', async () => {
  const { all, caches } = storage();
  const shell = new ShellCache(SHELL, false, caches);
  await shell.fill();
  await shell.prune();
  expect([...all.keys()]).toEqual(['of-somebody-else', 'localphi-page-two']);
});

test('only the page itself is answered for', () => {
  const shell = new ShellCache(SHELL, false, storage().caches);
  expect(shell.has(at('/'))).toBe(true);
  expect(shell.has(at('/?device=wasm'))).toBe(true);
  expect(shell.has(at('/ort/ort.webgpu.min.mjs'))).toBe(true);
  expect(shell.has(at('/ort/ort.jspi.min.mjs'))).toBe(false);
  for (const path of ['/v1/models', '/models/localphi-demo/model.onnx', '/healthz', '/sw.js']) {
    expect(shell.has(at(path)), path).toBe(false);
  }
});

test('a file comes from the cache, and from the server when the browser threw it away', async () => {
  const { caches } = storage();
  const shell = new ShellCache(SHELL, true, caches);
  vi.stubGlobal('fetch', (path: string) => Promise.resolve(new Response(`fetched ${path}`)));
  expect(await (await shell.file(at('/'))).text()).toBe('fetched /');
  await shell.fill();
  expect(await (await shell.file(at('/?q=hello'))).text()).toBe('kept /');
});
