/**
 * What was typed and not sent. For a chat of the list it outlives the visit; for a new chat it
 * belongs to its tab, because each tab has a new chat of its own.
 */
const PREFIX = 'localphi.draft.';
const NEW = 'localphi.draft';

export function readDraft(chatId: string, listed: boolean): string {
  try {
    return (listed ? localStorage.getItem(PREFIX + chatId) : sessionStorage.getItem(NEW)) ?? '';
  } catch {
    return ''; // refused storage
  }
}

export function writeDraft(chatId: string, listed: boolean, text: string): void {
  try {
    const [storage, key] = listed ? [localStorage, PREFIX + chatId] : [sessionStorage, NEW];
    if (text === '') storage.removeItem(key);
    else storage.setItem(key, text);
  } catch {
    // Refused or full storage: the text is still in the box.
  }
}

export function forgetDraft(chatId: string): void {
  writeDraft(chatId, true, '');
}
