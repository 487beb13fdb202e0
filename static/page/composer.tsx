import { useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

import { AttachmentList, isOver } from './attachment-list';
import type { Budget } from './attachment-list';
import { estimateTokens, withAttachments } from './attachments';
import { readDraft, writeDraft } from './chats/drafts';
import type { Conversation } from './conversation';
import { Icon } from './icon';
import { strings } from './strings';
import type { Ui } from './ui';
import { useAttachments } from './use-attachments';

interface Props {
  readonly conversation: Conversation;
  readonly ui: Ui;
  /** How many tokens the model reads; null where nobody can tell. */
  readonly contextLength: () => Promise<number | null>;
  /** Asked to let the last question be edited. */
  readonly onEditLast: () => void;
}

/**
 * Where one writes. Enter sends, Shift+Enter breaks the line, the arrow up goes to the last question.
 * What was typed and not sent is kept with its chat.
 */
export function Composer({ conversation, ui, contextLength, onEditLast }: Props) {
  const text = useSignal(draftOf(conversation));
  const area = useRef<HTMLTextAreaElement>(null);
  const busy = conversation.busy.value;
  const attachments = useAttachments(ui);
  const files = attachments.files.value;
  const beingRead = attachments.beingRead.value;
  const question = withAttachments(text.value, files);
  const budget = useBudget(conversation, question, files.length > 0, contextLength);
  useFocus(area, busy);
  useGrowth(area, text.value);
  const write = (value: string) => {
    text.value = value;
    writeDraft(conversation.id, isListed(conversation), value);
  };
  const send = () => {
    const listed = isListed(conversation);
    // As it is now: what was typed since the last drawing counts, too.
    const asked = withAttachments(text.peek(), attachments.files.peek());
    if (attachments.beingRead.peek().length > 0 || isOver(budget)) return;
    if (!conversation.send(asked)) return;
    text.value = '';
    attachments.clear();
    writeDraft(conversation.id, listed, '');
  };
  return (
    <form
      class={attachments.dropping.value ? 'composer dropping' : 'composer'}
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <AttachmentList
        attachments={files}
        beingRead={beingRead}
        budget={budget}
        onRemove={attachments.remove}
      />
      <div class="composer-row">
        <AttachButton onChoose={(chosen) => void attachments.add(chosen)} />
        <textarea
          ref={area}
          id="composer"
          rows={1}
          data-testid="composer"
          aria-label={strings.placeholder}
          placeholder={attachments.dropping.value ? strings.dropHere : strings.placeholder}
          autocomplete="off"
          value={text.value}
          onInput={(event) => {
            write(event.currentTarget.value);
          }}
          onPaste={(event) => {
            const pasted = [...(event.clipboardData?.files ?? [])];
            if (pasted.length === 0) return;
            event.preventDefault();
            void attachments.add(pasted);
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
            disabled={question === '' || beingRead.length > 0 || isOver(budget)}
          >
            {strings.send}
          </button>
        )}
      </div>
    </form>
  );
}

function AttachButton({ onChoose }: { readonly onChoose: (files: readonly File[]) => void }) {
  return (
    <label class="icon-button file attach" title={strings.attach}>
      <Icon name="clip" />
      <input
        type="file"
        multiple
        class="visually-hidden"
        data-testid="attach"
        aria-label={strings.attach}
        onChange={({ currentTarget }) => {
          const chosen = [...(currentTarget.files ?? [])];
          currentTarget.value = ''; // so that the same file can be chosen again
          onChoose(chosen);
        }}
      />
    </label>
  );
}

/** What the question takes, with what was said before; asks for the limit once there are files. */
function useBudget(
  conversation: Conversation,
  question: string,
  wanted: boolean,
  contextLength: () => Promise<number | null>,
): Budget {
  const of = useSignal<number | null>(null);
  useEffect(() => {
    if (!wanted) return;
    void contextLength().then((tokens) => {
      of.value = tokens;
    });
  }, [wanted, contextLength, of]);
  if (!wanted) return { tokens: 0, of: null };
  return { tokens: tokensSaid(conversation) + estimateTokens(question), of: of.value };
}

/** As the last answer has counted them, else by estimate. */
function tokensSaid(conversation: Conversation): number {
  const entries = conversation.entries.value;
  const status = entries.at(-1)?.status.value;
  if (status && 'stats' in status && status.stats) {
    return status.stats.promptTokens + status.stats.tokens;
  }
  return entries.reduce((sum, { content }) => sum + estimateTokens(content.value), 0);
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
