/** The open chat in the page's address, so that reloading, going back and bookmarks find it. */
const PREFIX = '#chat=';

export function chatIdIn(hash: string): string | null {
  return hash.startsWith(PREFIX) && hash.length > PREFIX.length ? hash.slice(PREFIX.length) : null;
}

/** The address with this chat; null for a chat that is not in the list yet. */
export function withChat(href: string, chatId: string | null): string {
  const url = new URL(href);
  url.hash = chatId === null ? '' : PREFIX + chatId;
  return url.href;
}
