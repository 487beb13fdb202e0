import { useComputed, useSignal } from '@preact/signals';
import type { Signal } from '@preact/signals';

import { Alternatives } from './alternatives';
import { Comparison } from './comparison';
import type { Conversation, Entry, EntryStatus, Move } from './conversation';
import { grows } from './conversation';
import { CopyButton } from './copy-button';
import { ErrorBox } from './error-box';
import { Markdown } from './markdown/view';
import { ReadAloud } from './read-aloud';
import { strings } from './strings';
import { Citations, citationsOf } from './tools/citations';
import { Sources } from './tools/sources';
import { ToolCards } from './tools/tool-cards';

interface Props {
  readonly entry: Entry;
  readonly conversation: Conversation;
  /** Whether nothing follows it. */
  readonly last: boolean;
}

export function AnswerView({ entry, conversation, last }: Props) {
  const status = entry.status.value;
  const text = entry.content.value;
  const growing = grows(entry);
  const runs = entry.runs.value;
  const citations = useComputed(() => citationsOf(entry.id, entry.runs.value)).value;
  const comparing = useSignal(false);
  const several = conversation.alternatives(entry).length > 1;
  const asking = runs.some((run) => run.now.value.state === 'asking');
  const retry = () => {
    conversation.retry(entry);
  };
  return (
    <article
      class="answer"
      aria-label={strings.product}
      aria-busy={growing}
      data-testid="message-assistant"
      data-status={status.state}
    >
      <ToolCards runs={runs} citations={citations} />
      {comparing.value && several && !growing ? (
        <Comparison entry={entry} conversation={conversation} />
      ) : (
        <div class="text" data-testid="answer-text">
          <Citations.Provider value={citations}>
            <Markdown text={text} growing={growing} />
          </Citations.Provider>
        </div>
      )}
      {status.state === 'failed' && (
        <ErrorBox
          error={status.error}
          onRetry={last && status.error.kind !== 'context' ? retry : null}
        />
      )}
      {!growing && text !== '' && <Sources citations={citations} />}
      <div class="answer-foot">
        {!growing && (
          <AnswerActions
            entry={entry}
            conversation={conversation}
            comparing={several ? comparing : null}
          />
        )}
        {!asking && <AnswerNote status={status} move={entry.move.value} />}
      </div>
    </article>
  );
}

interface ActionsProps extends Omit<Props, 'last'> {
  /** Whether versions stand side by side; null where there is one. */
  readonly comparing: Signal<boolean> | null;
}

function AnswerActions({ entry, conversation, comparing }: ActionsProps) {
  const text = entry.content.value;
  return (
    <>
      <Alternatives entry={entry} conversation={conversation} />
      {comparing && (
        <button
          type="button"
          class="small-button"
          data-testid="compare"
          aria-pressed={comparing.value}
          onClick={() => {
            comparing.value = !comparing.value;
          }}
        >
          {strings.sideBySide}
        </button>
      )}
      {text !== '' && <CopyButton text={text} label={strings.copyAnswer} testId="copy-answer" />}
      {text !== '' && <ReadAloud text={text} />}
      {entry.status.value.state !== 'failed' && (
        <button
          type="button"
          class="small-button"
          data-testid="regenerate"
          disabled={conversation.busy.value}
          onClick={() => {
            conversation.regenerate(entry);
          }}
        >
          {strings.regenerate}
        </button>
      )}
    </>
  );
}

/** The quiet line under an answer. */
function AnswerNote({
  status,
  move,
}: {
  readonly status: EntryStatus;
  readonly move: Move | null;
}) {
  const parts = [moveText(move), statusText(status)].filter((part) => part !== null);
  if (parts.length === 0) return null;
  return (
    <p class="quiet" data-testid="answer-note">
      {parts.join(' ')}
    </p>
  );
}

function moveText(move: Move | null): string | null {
  if (!move) return null;
  return move.restarted ? strings.restarted(move.device) : strings.moved(move.device);
}

function statusText(status: EntryStatus): string | null {
  switch (status.state) {
    case 'waiting':
      return status.readShare > 0 ? strings.reading(status.readShare) : strings.thinking;
    case 'streaming':
    case 'failed':
      return null;
    case 'done':
      return status.stats && strings.stats(status.stats);
    case 'length':
    case 'stopped': {
      const why = status.state === 'length' ? strings.full : strings.stopped;
      return status.stats ? `${why} ${strings.stats(status.stats)}` : why;
    }
    default:
      return status satisfies never;
  }
}
