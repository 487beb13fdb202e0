/**
 * The service worker: the page opens without its server.
 *
 * It keeps the page's own files, all of one build, and answers for nothing else: models are kept by the
 * page's worker, and what goes to the API goes there. A new build waits until the page says so, because two
 * builds in one page do not fit together.
 */
import { ShellCache } from './shell';
import type { Shell } from './shell';

declare const self: ServiceWorkerGlobalScope;

/** Put in by the build (build/service-worker.ts). */
declare const __SHELL__: Shell;

const shell = new ShellCache(__SHELL__, 'Suspending' in WebAssembly, caches);

self.addEventListener('install', (event) => {
  event.waitUntil(shell.fill());
});

self.addEventListener('activate', (event) => {
  event.waitUntil(Promise.all([shell.prune(), self.clients.claim()]));
});

self.addEventListener('message', ({ data }: ExtendableMessageEvent) => {
  if (data === 'take-over') void self.skipWaiting();
});

self.addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  const address = new URL(url);
  if (method !== 'GET' || address.origin !== self.location.origin) return;
  if (shell.has(address)) event.respondWith(shell.file(address));
});
