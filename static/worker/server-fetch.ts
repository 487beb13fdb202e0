/** The worker's requests to the server, with the address and the access key that the page has. */
let serverKey: string | null = null;
let serverUrl = '';

/** url: of another server than the one of the worker's script, without a slash at its end. */
export function setServer(key: string | null, url = ''): void {
  serverKey = key;
  serverUrl = url;
}

/** input: an address on the server, which begins with a slash. */
export const serverFetch: typeof fetch = (input, init) => {
  const address = typeof input === 'string' ? serverUrl + input : input;
  if (serverKey === null) return fetch(address, init);
  const headers = new Headers(init?.headers);
  headers.set('Authorization', `Bearer ${serverKey}`);
  return fetch(address, { ...init, headers });
};
