/** What the tabs of this browser tell each other about chats. */
export interface Notice {
  readonly type: 'changed' | 'removed';
  readonly chatId: string;
}

export interface Channel {
  /** Reaches all other tabs, not this one. */
  send(notice: Notice): void;
  listen(onNotice: (notice: Notice) => void): void;
}

/** A channel to the other tabs; silent where the browser has none. */
export function openChannel(): Channel {
  if (typeof BroadcastChannel === 'undefined') return { send: () => {}, listen: () => {} };
  const channel = new BroadcastChannel('localphi.chats');
  return {
    send: (notice) => {
      channel.postMessage(notice);
    },
    listen: (onNotice) => {
      channel.addEventListener('message', ({ data }: MessageEvent<Notice>) => {
        onNotice(data);
      });
    },
  };
}
