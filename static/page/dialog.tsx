import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import { Icon } from './icon';
import { strings } from './strings';

interface Props {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  readonly testId: string;
  /** A sheet at the page's side rather than a box in its middle. */
  readonly drawer?: boolean;
  /** With room for cards. */
  readonly wide?: boolean;
}

/** The browser's own modal dialog: it keeps the focus, and gives it back to where it was. */
export function Dialog({ title, onClose, children, testId, drawer = false, wide = false }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    // In every drawing: one that was closed and asked for again in the same frame is still this one.
    if (element.current?.open === false) element.current.showModal();
  });
  useEffect(() => {
    const dialog = element.current;
    return () => {
      dialog?.close();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={drawer ? 'drawer' : wide ? 'dialog wide' : 'dialog'}
      data-testid={testId}
      aria-label={title}
      onClose={onClose}
      onClick={({ target }) => {
        if (target === element.current) onClose(); // a press beside it
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2>{title}</h2>
          <button
            type="button"
            class="icon-button"
            data-testid="close-dialog"
            aria-label={strings.close}
            onClick={onClose}
          >
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
