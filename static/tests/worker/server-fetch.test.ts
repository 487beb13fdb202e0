import { afterEach, expect, test, vi } from 'vitest';

import { serverFetch, setServer } from '../../worker/server-fetch';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('requests of the worker carry the key of the page, once there is one', async () => {
  const sent: (RequestInit | undefined)[] = [];
  vi.stubGlobal('fetch', (_: unknown, init?: RequestInit) => {
    sent.push(init);
    return Promise.resolve(new Response('ok'));
  });
  await serverFetch('/models/a/localphi.json', { cache: 'no-cache' });
  setServer('sk-right');
  await serverFetch('/models/a/localphi.json', {
    cache: 'no-store',
    headers: { Range: 'bytes=0-1' },
  });
  expect(sent[0]).toEqual({ cache: 'no-cache' });
  const headers = new Headers(sent[1]?.headers);
  expect(headers.get('Authorization')).toBe('Bearer sk-right');
  expect(headers.get('Range')).toBe('bytes=0-1');
  expect(sent[1]?.cache).toBe('no-store');
});
