import { useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

import { readDraft, writeDraft } from './chats/drafts';
import type { Conversation } from './conversation';
import { strings } from './strings';

interface Props {
  readonly conversation: Conversation;
  /** Asked to let the last question be edited. */
  readonly onEditLast: () => void;
}

/**
 * Where one writes. Enter sends, Shift+Enter breaks the line, the arrow up goes to the last question.
 * What was typed and not sent is kept with its chat.
 */
export function Composer({ conversation, onEditLast }: Props) {
  const text = useSignal(draftOf(conversation));
  const area = useRef<HTMLTextAreaElement>(null);
  const busy = conversation.busy.value;
  useFocus(area, busy);
  useGrowth(area, text.value);
  const write = (value: string) => {
    text.value = value;
    writeDraft(conversation.id, isListed(conversation), value);
  };
  const send = () => {
    const listed = isListed(conversation);
    if (!conversation.send(text.value)) return;
    text.value = '';
    writeDraft(conversation.id, listed, '');
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
        id="composer"
        rows={1}
        data-testid="composer"
        aria-label={strings.placeholder}
        placeholder={strings.placeholder}
        autocomplete="off"
        value={text.value}
        onInput={(event) => {
          write(event.currentTarget.value);
        }}
        onKeyDown={(event) => {
          // While a Chinese or Japanese word is being composed, keys belong to the word.
          if (event.isComposing) return;
          if (event.key === 'ArrowUp' && text.value === '' && !busy) {
            event.preventDefault();
            onEditLast();
          } else if (event.key === 'Enter' && !event.shiftKey) {
            event.preventDefault();
            send();
          }
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

/** A chat is in the list once something was said in it. */
function isListed(conversation: Conversation): boolean {
  return conversation.messages.peek().length > 0;
}

function draftOf(conversation: Conversation): string {
  return readDraft(conversation.id, isListed(conversation));
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
export function useGrowth(area: RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [area, text]);
}
