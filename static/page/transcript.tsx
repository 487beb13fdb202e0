import { useSignalEffect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import type { Conversation, Entry, EntryStatus, Move } from './conversation';
import { CopyButton } from './copy-button';
import type { Engine } from './engine';
import { ErrorBox } from './error-box';
import { Logo } from './logo';
import { Markdown } from './markdown/view';
import { strings } from './strings';

interface Props {
  readonly engine: Engine;
  readonly conversation: Conversation;
}

export function Transcript({ engine, conversation }: Props) {
  const entries = conversation.entries.value;
  useFollow(conversation);
  return (
    <main class="transcript" aria-label={strings.transcript}>
      {entries.length === 0 ? (
        <Welcome engine={engine} conversation={conversation} />
      ) : (
        entries.map((entry, i) =>
          entry.role === 'user' ? (
            <Question key={entry.id} entry={entry} />
          ) : (
            <AnswerView
              key={entry.id}
              entry={entry}
              onRetry={
                i === entries.length - 1
                  ? () => {
                      conversation.retry();
                    }
                  : null
              }
            />
          ),
        )
      )}
      <Announcer conversation={conversation} />
    </main>
  );
}

function Welcome({ engine, conversation }: Props) {
  const state = engine.state.value;
  const onServer = state.phase === 'ready' && state.device === 'server';
  return (
    <section class="welcome">
      <Logo />
      <p class="lead">{onServer ? strings.onServer(otherHost()) : strings.here}</p>
      <ul class="examples" aria-label={strings.examplesLabel}>
        {strings.examples.map((example) => (
          <li key={example}>
            <button
              type="button"
              class="button"
              data-testid="example"
              onClick={() => {
                conversation.send(example);
              }}
            >
              {example}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Question({ entry }: { readonly entry: Entry }) {
  return (
    <article class="question" aria-label={strings.you} data-testid="message-user">
      {entry.content.value}
    </article>
  );
}

interface AnswerProps {
  readonly entry: Entry;
  /** Null for all but the last answer. */
  readonly onRetry: (() => void) | null;
}

function AnswerView({ entry, onRetry }: AnswerProps) {
  const status = entry.status.value;
  const text = entry.content.value;
  const growing = status.state === 'waiting' || status.state === 'streaming';
  return (
    <article
      class="answer"
      aria-label={strings.product}
      data-testid="message-assistant"
      data-status={status.state}
    >
      <div class="text" data-testid="answer-text">
        <Markdown text={text} growing={growing} />
      </div>
      {status.state === 'failed' && (
        <ErrorBox error={status.error} onRetry={status.error.kind === 'context' ? null : onRetry} />
      )}
      <div class="answer-foot">
        {!growing && text !== '' && (
          <CopyButton text={text} label={strings.copyAnswer} testId="copy-answer" />
        )}
        <AnswerNote status={status} move={entry.move.value} />
      </div>
    </article>
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
  return move.restarted ? strings.restarted : strings.moved(move.device);
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

/** Reads a finished answer to screen readers, once and whole rather than word by word. */
function Announcer({ conversation }: { readonly conversation: Conversation }) {
  const last = conversation.entries.value.at(-1);
  const finished = last?.role === 'assistant' && !conversation.busy.value;
  return (
    <div class="visually-hidden" aria-live="polite">
      {finished ? last.content.value : ''}
    </div>
  );
}

/** Keeps the newest text in view, unless one has scrolled away from it. */
function useFollow(conversation: Conversation): void {
  const following = useRef(true);
  const lastId = conversation.entries.value.at(-1)?.id;
  useEffect(() => {
    const onScroll = () => {
      const { scrollHeight, scrollTop, clientHeight } = document.documentElement;
      following.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    };
    document.addEventListener('scroll', onScroll);
    return () => {
      document.removeEventListener('scroll', onScroll);
    };
  }, []);
  useEffect(() => {
    following.current = true;
  }, [lastId]);
  useSignalEffect(() => {
    if (conversation.snapshot.value.length === 0) return;
    // After the frame in which the new text is drawn.
    requestAnimationFrame(() => {
      const page = document.documentElement;
      if (following.current) page.scrollTop = page.scrollHeight;
    });
  });
}

const NEAR_END_PX = 80;

/** The host the page comes from, or null when that is this machine. */
function otherHost(): string | null {
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
  return local ? null : location.host;
}
