import type { Signal } from '@preact/signals';
import { useSignalEffect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { Announcer } from './announcer';
import { AnswerView } from './answer-view';
import type { Conversation } from './conversation';
import type { Engine } from './engine';
import { Logo } from './logo';
import { QuestionView } from './question-view';
import { strings } from './strings';
import { english } from './strings/en';

interface Props {
  readonly engine: Engine;
  /** The adapter that answers, on the server; null for none. */
  readonly adapter: string | null;
  readonly conversation: Conversation;
  /** Id of the question that is being edited. */
  readonly editing: Signal<string | null>;
}

export function Transcript({ engine, adapter, conversation, editing }: Props) {
  const entries = conversation.entries.value;
  useFollow(conversation);
  return (
    <main class="transcript" aria-label={strings.transcript}>
      {entries.length === 0 ? (
        <Welcome engine={engine} adapter={adapter} conversation={conversation} />
      ) : (
        entries.map((entry, i) =>
          entry.role === 'user' ? (
            <QuestionView
              key={entry.id}
              entry={entry}
              conversation={conversation}
              editing={editing}
            />
          ) : (
            <AnswerView
              key={entry.id}
              entry={entry}
              conversation={conversation}
              last={i === entries.length - 1}
            />
          ),
        )
      )}
      <Announcer conversation={conversation} />
    </main>
  );
}

function Welcome({ engine, adapter, conversation }: Omit<Props, 'editing'>) {
  const state = engine.state.value;
  const onServer = adapter !== null || (state.phase === 'ready' && state.device === 'server');
  // The demo model was taught its answers in English only.
  const demo = engine.modelId.value === DEMO;
  const examples = demo ? english.examples : strings.examples;
  return (
    <section class="welcome">
      <Logo />
      <p class="lead">{onServer ? strings.onServer(otherHost()) : strings.here}</p>
      <ul class="examples" aria-label={strings.examplesLabel}>
        {examples.map((example) => (
          <li key={example} lang={demo ? 'en' : undefined}>
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

/** Keeps the newest text in view, unless one has scrolled away from it. */
function useFollow(conversation: Conversation): void {
  const following = useRef(true);
  const busy = conversation.busy.value;
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
  // A new answer is followed from its start; another version of an old one is not run after.
  useEffect(() => {
    if (busy) following.current = true;
  }, [busy, lastId]);
  useSignalEffect(() => {
    if (conversation.entries.value.at(-1)?.stored.value === undefined) return;
    // After the frame in which the new text is drawn.
    requestAnimationFrame(() => {
      const page = document.documentElement;
      if (following.current) page.scrollTop = page.scrollHeight;
    });
  });
}

const DEMO = 'localphi-demo';

const NEAR_END_PX = 80;

/** The host the page comes from, or null when that is this machine. */
function otherHost(): string | null {
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
  return local ? null : location.host;
}
