import { useEffect } from 'preact/hooks';

import type { Conversation } from './conversation';
import { strings } from './strings';

const SHOWN_MS = 10_000;

interface Props {
  readonly conversation: Conversation;
}

/** Offers, for a while, to bring back the chat that was cleared. */
export function Toast({ conversation }: Props) {
  const shown = conversation.canUndo.value;
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setTimeout(() => {
      conversation.forget();
    }, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [shown, conversation]);
  if (!shown) return null;
  return (
    <div class="toast" role="status">
      {strings.chatCleared}
      <button
        type="button"
        class="link"
        data-testid="undo"
        onClick={() => {
          conversation.undo();
        }}
      >
        {strings.undo}
      </button>
    </div>
  );
}
