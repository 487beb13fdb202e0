/** The worker's requests to the server, with the access key that the page has. */
let serverKey: string | null = null;

export function setServerKey(key: string | null): void {
  serverKey = key;
}

export const serverFetch: typeof fetch = (input, init) => {
  if (serverKey === null) return fetch(input, init);
  const headers = new Headers(init?.headers);
  headers.set('Authorization', `Bearer ${serverKey}`);
  return fetch(input, { ...init, headers });
};
