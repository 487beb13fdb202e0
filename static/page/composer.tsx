import { useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

import type { Conversation } from './conversation';
import { strings } from './strings';

interface Props {
  readonly conversation: Conversation;
}

/** Where one writes. Enter sends, Shift+Enter breaks the line, Escape stops the answer. */
export function Composer({ conversation }: Props) {
  const text = useSignal('');
  const area = useRef<HTMLTextAreaElement>(null);
  const busy = conversation.busy.value;
  useFocus(area, busy);
  useGrowth(area, text.value);
  useEscape(() => {
    conversation.stop();
  });
  const send = () => {
    if (conversation.send(text.value)) text.value = '';
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        data-testid="composer"
        aria-label={strings.placeholder}
        placeholder={strings.placeholder}
        autocomplete="off"
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
        }}
        onKeyDown={(event) => {
          // While a Chinese or Japanese word is being composed, Enter belongs to the word.
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      {busy ? (
        <button
          key="stop" // not the same element as Send: a late click must not send the draft
          type="button"
          class="button primary"
          data-testid="stop"
          onClick={() => {
            conversation.stop();
            area.current?.focus();
          }}
        >
          {strings.stop}
        </button>
      ) : (
        <button
          key="send"
          type="submit"
          class="button primary"
          data-testid="send"
          disabled={text.value.trim() === ''}
        >
          {strings.send}
        </button>
      )}
    </form>
  );
}

/**
 * Ready to type at the start, and when the button that had the focus has gone with a new answer,
 * except where that would open a keyboard on the screen.
 */
function useFocus(area: RefObject<HTMLTextAreaElement | null>, busy: boolean): void {
  useEffect(() => {
    const lost = document.activeElement === null || document.activeElement === document.body;
    if (lost && matchMedia('(pointer: fine)').matches) area.current?.focus();
  }, [area, busy]);
}

/** Keeps the text area as high as its text; the style sheet sets the most. */
function useGrowth(area: RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [area, text]);
}

function useEscape(onEscape: () => void): void {
  useEffect(() => {
    const listener = ({ key, isComposing }: KeyboardEvent) => {
      if (key === 'Escape' && !isComposing) onEscape();
    };
    document.addEventListener('keydown', listener);
    return () => {
      document.removeEventListener('keydown', listener);
    };
  });
}
