/** Which keys do what. */

export type Action = 'help' | 'composer' | 'search' | 'new-chat' | 'stop';

/** What a keyboard event tells. */
export interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
  readonly isComposing: boolean;
}

/**
 * What the key asks for, or null.
 * single: whether keys of one character count; they do not where one writes.
 */
export function actionOf(event: Key, single: boolean): Action | null {
  const { key, altKey, shiftKey, isComposing } = event;
  if (isComposing || altKey) return null;
  const command = event.ctrlKey || event.metaKey;
  if (command) {
    if (!shiftKey && key.toLowerCase() === 'k') return 'search';
    return shiftKey && key.toLowerCase() === 'o' ? 'new-chat' : null;
  }
  if (key === 'Escape') return 'stop';
  if (!single) return null;
  if (key === '?') return 'help';
  return key === '/' ? 'composer' : null;
}

/** Whether one writes in it. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
