import type { ChatInfo, StoredMessage } from '../../../page/chats/record';

export function chat(id: string, changes: Partial<ChatInfo> = {}): ChatInfo {
  return { id, title: id, pinned: false, madeMs: 1, askedMs: 1, chosen: {}, ...changes };
}

export function message(
  chatId: string,
  id: string,
  changes: Partial<StoredMessage> = {},
): StoredMessage {
  return {
    ...{ chatId, id, parentId: null, role: 'user', content: 'Hi', state: 'done' },
    ...{ stats: null, error: null, madeMs: 1 },
    ...changes,
  };
}
