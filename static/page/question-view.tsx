import { useSignal } from '@preact/signals';
import type { Signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';

import { Alternatives } from './alternatives';
import { estimateTokens, splitAttachments } from './attachments';
import { useGrowth } from './composer';
import type { Conversation, Entry } from './conversation';
import { strings } from './strings';
import { focusComposer } from './ui';

interface Props {
  readonly entry: Entry;
  readonly conversation: Conversation;
  /** Id of the question that is being edited. */
  readonly editing: Signal<string | null>;
}

/** What one asked, as it was typed. */
export function QuestionView({ entry, conversation, editing }: Props) {
  if (editing.value === entry.id) {
    return <Editor entry={entry} conversation={conversation} editing={editing} />;
  }
  const { question, attachments } = splitAttachments(entry.content.value);
  return (
    <article class="asked" aria-label={strings.you}>
      <div class="question" data-testid="message-user">
        {question}
        {attachments.map(({ name, text }) => (
          <details key={name} class="attached" data-testid="attached">
            <summary>{strings.attached(name, estimateTokens(text))}</summary>
            <pre tabIndex={0}>{text}</pre>
          </details>
        ))}
      </div>
      <div class="asked-foot">
        <button
          type="button"
          class="small-button"
          data-testid="edit"
          disabled={conversation.busy.value}
          onClick={() => {
            editing.value = entry.id;
          }}
        >
          {strings.editQuestion}
        </button>
        <Alternatives entry={entry} conversation={conversation} />
      </div>
    </article>
  );
}

/** Enter asks again, Escape leaves the question as it was. */
function Editor({ entry, conversation, editing }: Props) {
  const text = useSignal(entry.content.value);
  const area = useRef<HTMLTextAreaElement>(null);
  useGrowth(area, text.value);
  useLayoutEffect(() => {
    // before anybody can type
    const end = area.current?.value.length ?? 0;
    area.current?.focus();
    area.current?.setSelectionRange(end, end);
  }, []);
  const close = () => {
    editing.value = null;
    focusComposer();
  };
  const ask = () => {
    conversation.edit(entry, text.value);
    close();
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        ask();
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || event.isComposing) return;
        event.stopPropagation();
        close();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        data-testid="editor"
        aria-label={strings.editedQuestion}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          if (text.value.trim() !== '') ask();
        }}
      />
      <div class="asked-foot">
        <button type="button" class="button" data-testid="cancel-edit" onClick={close}>
          {strings.cancel}
        </button>
        <button
          type="submit"
          class="button primary"
          data-testid="ask-again"
          disabled={text.value.trim() === '' || conversation.busy.value}
        >
          {strings.askAgain}
        </button>
      </div>
    </form>
  );
}
