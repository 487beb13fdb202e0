/** Which keys do what. Keys of one character stay out of the way of those who speak or type to the page. */

export type Action = 'help' | 'composer' | 'search' | 'new-chat' | 'stop';

/** What a keyboard event tells; `typing` is whether it went to a place where one writes. */
export interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
  readonly isComposing: boolean;
}

/** What the key asks for, or null. */
export function actionOf(event: Key, typing: boolean): Action | null {
  const { key, altKey, shiftKey, isComposing } = event;
  if (isComposing || altKey) return null;
  const command = event.ctrlKey || event.metaKey;
  if (command) {
    if (!shiftKey && key.toLowerCase() === 'k') return 'search';
    return shiftKey && key.toLowerCase() === 'o' ? 'new-chat' : null;
  }
  if (key === 'Escape') return 'stop';
  if (typing) return null;
  if (key === '?') return 'help';
  return key === '/' ? 'composer' : null;
}

/** Whether one writes in it. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
