import { useEffect } from 'preact/hooks';

import { Icon } from './icon';
import { strings } from './strings';
import type { Ui } from './ui';

const SHOWN_MS = 10_000;

interface Props {
  readonly ui: Ui;
}

/** Says for a while what happened, and offers a way back. Warnings stay until they are closed. */
export function Toast({ ui }: Props) {
  const toast = ui.toast.value;
  const close = () => {
    ui.toast.value = null;
  };
  useEffect(() => {
    if (!toast || toast.alarm) return undefined;
    const timer = setTimeout(close, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [toast]);
  // The region is always there: screen readers announce what comes into one, not a new one.
  return (
    <div class="toasts" role="status">
      {toast && (
        <div class={toast.alarm ? 'toast alarm' : 'toast'} data-testid="toast">
          <span>{toast.text}</span>
          {toast.action && (
            <button
              type="button"
              class="link"
              data-testid="undo"
              onClick={() => {
                close();
                toast.action?.run();
              }}
            >
              {toast.action.label}
            </button>
          )}
          <button
            type="button"
            class="icon-button"
            data-testid="close-toast"
            aria-label={strings.close}
            onClick={close}
          >
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  );
}
