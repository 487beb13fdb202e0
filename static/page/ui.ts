/** What is open on the page, beside the chats themselves. */
import { effect, signal } from '@preact/signals';
import type { ReadonlySignal, Signal } from '@preact/signals';

import { preferences } from './preferences';

export interface ToastContent {
  readonly text: string;
  readonly action: { readonly label: string; readonly run: () => void } | null;
  readonly alarm: boolean;
}

export type DialogName = 'help' | 'settings' | 'models';

/** Elements that shortcuts go to, by their id. */
export type Target = 'composer' | 'search';

export class Ui {
  readonly #narrow = signal(false);
  /** Beside the chat, where there is room. */
  readonly sideOpen: Signal<boolean> = signal(preferences.sideOpen);
  /** Over the chat, where there is not. */
  readonly drawerOpen: Signal<boolean> = signal(false);
  /** Whether `/` and `?` are shortcuts. */
  readonly singleKeys: Signal<boolean> = signal(preferences.singleKeys);
  readonly dialog: Signal<DialogName | null> = signal(null);
  readonly toast: Signal<ToastContent | null> = signal(null);

  /** media: whether the page is too narrow for a list beside the chat. */
  constructor(media: MediaQueryList) {
    this.#narrow.value = media.matches;
    media.addEventListener('change', ({ matches }) => {
      this.#narrow.value = matches;
      this.drawerOpen.value = false;
    });
    effect(() => {
      preferences.sideOpen = this.sideOpen.value;
      preferences.singleKeys = this.singleKeys.value;
    });
  }

  get narrow(): ReadonlySignal<boolean> {
    return this.#narrow;
  }

  /** Whether the list of chats is to be seen. */
  get listShown(): boolean {
    return this.#narrow.value ? this.drawerOpen.value : this.sideOpen.value;
  }

  toggleList(): void {
    const open = this.#narrow.peek() ? this.drawerOpen : this.sideOpen;
    open.value = !open.peek();
  }

  showList(): void {
    (this.#narrow.peek() ? this.drawerOpen : this.sideOpen).value = true;
  }

  say(text: string, action: ToastContent['action'] = null): void {
    this.toast.value = { text, action, alarm: false };
  }

  warn(text: string): void {
    this.toast.value = { text, action: null, alarm: true };
  }
}

/** Puts the focus there once what is being drawn is drawn. */
export function focusOn(target: Target): void {
  requestAnimationFrame(() => {
    requestAnimationFrame(() => {
      document.getElementById(target)?.focus();
    });
  });
}

/** Ready to type, except where that would open a keyboard on the screen. */
export function focusComposer(): void {
  if (matchMedia('(pointer: fine)').matches) focusOn('composer');
}
