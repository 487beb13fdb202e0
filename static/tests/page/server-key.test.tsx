import { render } from 'preact-render-to-string';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { KeyDialog } from '../../page/key-dialog';
import { ServerKey, parseKey } from '../../page/server-key';
import { strings } from '../../page/strings';
import { stubStorage } from './storage';

const RIGHT = 'sk-right';

/** A server that takes one key. */
function server() {
  const keys: (string | null)[] = [];
  const fetchUrl = (_: unknown, init?: RequestInit) => {
    const key = new Headers(init?.headers).get('Authorization');
    keys.push(key);
    const status = key === `Bearer ${RIGHT}` ? 200 : 401;
    return Promise.resolve(new Response(init?.body, { status }));
  };
  return { keys, fetchUrl: fetchUrl as typeof fetch };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

let local: Map<string, string>;
let session: Map<string, string>;

beforeEach(() => {
  local = stubStorage('localStorage');
  session = stubStorage('sessionStorage');
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test('a server that wants no key gets none, and nobody is asked', async () => {
  const asked: (RequestInit | undefined)[] = [];
  const fetchUrl = (_: unknown, init?: RequestInit) => {
    asked.push(init);
    return Promise.resolve(new Response('ok'));
  };
  const key = new ServerKey(fetchUrl);
  expect((await key.fetch('/v1/models')).status).toBe(200);
  expect(asked).toEqual([undefined]);
  expect(key.request.value).toBeNull();
});

test('a request waits for the key and is sent again with it', async () => {
  const { keys, fetchUrl } = server();
  const key = new ServerKey(fetchUrl);
  const init = { method: 'POST', body: 'hi', headers: { 'Content-Type': 'application/json' } };
  const response = key.fetch('/v1/chat/completions', init);
  await settled();
  expect(key.request.value).toMatchObject({ refused: false });
  key.give(RIGHT, false);
  expect(await (await response).text()).toBe('hi');
  expect(keys).toEqual([null, `Bearer ${RIGHT}`]);
  expect(key.request.value).toBeNull();
});

test('a wrong key is asked for again, and said to be wrong', async () => {
  const key = new ServerKey(server().fetchUrl);
  const response = key.fetch('/v1/models');
  await settled();
  key.give('sk-wrong', true);
  await settled();
  expect(key.request.value).toMatchObject({ refused: true });
  key.give(RIGHT, true);
  expect((await response).status).toBe(200);
});

test('requests of the same time ask once', async () => {
  const { keys, fetchUrl } = server();
  const key = new ServerKey(fetchUrl);
  const responses = [key.fetch('/v1/models'), key.fetch('/v1/models')];
  await settled();
  const { id } = key.request.value!;
  key.give(RIGHT, false);
  for (const response of responses) expect((await response).status).toBe(200);
  expect(id).toBe(1);
  expect(keys).toHaveLength(4);
});

test('who declines gets the refusal, and is asked again the next time', async () => {
  const key = new ServerKey(server().fetchUrl);
  const response = key.fetch('/v1/models');
  await settled();
  key.decline(key.request.value!);
  expect((await response).status).toBe(401);
  void key.fetch('/v1/models');
  await settled();
  expect(key.request.value).toMatchObject({ id: 2 });
});

test('a dialog that closes late does not decline what came after it', async () => {
  const key = new ServerKey(server().fetchUrl);
  const response = key.fetch('/v1/models');
  await settled();
  const first = key.request.value!;
  key.give('sk-wrong', false);
  await settled();
  key.decline(first);
  expect(key.request.value).toMatchObject({ id: 2, refused: true });
  key.give(RIGHT, false);
  expect((await response).status).toBe(200);
});

test('a request that is aborted does not wait for a key', async () => {
  const key = new ServerKey(server().fetchUrl);
  const controller = new AbortController();
  const response = key.fetch('/v1/models', { signal: controller.signal });
  await settled();
  controller.abort();
  await expect(response).rejects.toMatchObject({ name: 'AbortError' });
});

test('a key is kept for the tab, or for longer when that was wanted, or not at all', async () => {
  const key = new ServerKey(server().fetchUrl);
  key.give(RIGHT, false);
  expect([local.size, session.size]).toEqual([0, 1]);
  expect(new ServerKey(server().fetchUrl).value.value).toBe(RIGHT);
  key.give(RIGHT, true);
  expect([local.size, session.size]).toEqual([1, 0]);
  expect((await new ServerKey(server().fetchUrl).fetch('/v1/models')).status).toBe(200);
  key.forget();
  expect([local.size, session.size]).toEqual([0, 0]);
  expect(key.value.value).toBeNull();
});

test('where storage is refused, the key lasts as long as the page', async () => {
  stubStorage('sessionStorage', true);
  const key = new ServerKey(server().fetchUrl);
  key.give(RIGHT, false);
  expect((await key.fetch('/v1/models')).status).toBe(200);
});

test('what was pasted around a key does not matter, and what can be none is not sent', () => {
  expect(parseKey(' sk-1\n')).toBe('sk-1');
  expect(parseKey('Bearer sk-1')).toBe('sk-1');
  for (const text of ['', '  ', 'two words', 'ключ', 'x'.repeat(257), 'a\nb']) {
    expect(parseKey(text)).toBeNull();
  }
});

test('the dialog names its field, and says why it asks again', () => {
  const serverKey = new ServerKey(server().fetchUrl);
  const shown = (refused: boolean) =>
    render(<KeyDialog serverKey={serverKey} request={{ id: 1, refused }} />);
  expect(shown(false)).toContain('type="password"');
  expect(shown(false)).toMatch(/<label[^>]*><span>Key<\/span>/);
  expect(shown(false)).not.toContain(strings.keyRefused);
  expect(shown(true)).toContain(strings.keyRefused);
  expect(shown(true)).toMatch(/aria-describedby="key-wrong"/);
});
