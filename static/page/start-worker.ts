import type { KeyMessage } from '../shared/protocol';

/** A worker that fetches from the server with this key; from its own origin unless another is named. */
export function startWorker(key: string | null, serverUrl?: string): Worker {
  const worker = new Worker(new URL('../worker/main.ts', import.meta.url), { type: 'module' });
  const server = serverUrl === undefined ? {} : { serverUrl };
  worker.postMessage({ type: 'key', key, ...server } satisfies KeyMessage);
  return worker;
}
