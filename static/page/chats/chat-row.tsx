import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { Icon } from '../icon';
import { strings } from '../strings';
import { focusComposer } from '../ui';
import type { Ui } from '../ui';
import { download } from './files';
import type { Library } from './library';
import type { ChatInfo } from './record';

interface Props {
  readonly info: ChatInfo;
  readonly library: Library;
  readonly ui: Ui;
}

/** A chat of the list; what can be done with it folds out below it. */
export function ChatRow({ info, library, ui }: Props) {
  const open = useSignal(false);
  const renaming = useSignal(false);
  const more = useRef<HTMLButtonElement>(null);
  const current = library.current.value.id === info.id;
  const answering = library.busyIds.value.has(info.id);
  const fold = () => {
    open.value = false;
    more.current?.focus();
  };
  return (
    <li
      class={current ? 'chat current' : 'chat'}
      data-testid="chat"
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || !open.value) return;
        event.preventDefault(); // in a drawer, Escape would close that
        event.stopPropagation();
        fold();
      }}
    >
      <div class="chat-line">
        {renaming.value ? (
          <RenameField
            title={info.title}
            onDone={(title, byKey) => {
              if (title !== null) library.rename(info.id, title);
              renaming.value = false;
              if (byKey) more.current?.focus();
            }}
          />
        ) : (
          <button
            type="button"
            class="chat-title"
            data-testid="chat-title"
            aria-current={current ? 'page' : undefined}
            title={info.title}
            onClick={() => {
              ui.drawerOpen.value = false;
              void library.open(info.id);
            }}
          >
            <span class="ellipsis">{info.title}</span>
            {answering && <span class="dot" role="img" aria-label={strings.beingAnswered} />}
          </button>
        )}
        <button
          type="button"
          class="icon-button"
          ref={more}
          data-testid="chat-more"
          aria-expanded={open.value}
          aria-label={strings.chatActions(info.title)}
          onClick={() => {
            open.value = !open.value;
          }}
        >
          <Icon name="more" />
        </button>
      </div>
      {open.value && (
        <Actions
          info={info}
          library={library}
          ui={ui}
          onRename={() => {
            open.value = false;
            renaming.value = true;
          }}
          onDone={fold}
        />
      )}
    </li>
  );
}

interface ActionsProps extends Props {
  readonly onRename: () => void;
  readonly onDone: () => void;
}

function Actions({ info, library, ui, onRename, onDone }: ActionsProps) {
  const actions: readonly (readonly [name: string, label: string, run: () => void])[] = [
    ['rename', strings.rename, onRename],
    [
      'pin',
      info.pinned ? strings.unpin : strings.pin,
      () => {
        library.pin(info.id, !info.pinned);
        onDone();
      },
    ],
    [
      'save-markdown',
      strings.saveMarkdown,
      () => {
        void download(library, info.id, 'markdown');
        onDone();
      },
    ],
    [
      'save-json',
      strings.saveJson,
      () => {
        void download(library, info.id, 'json');
        onDone();
      },
    ],
    ['delete', strings.deleteChat, () => void removeWithUndo(info, library, ui)],
  ];
  return (
    <div class="chat-actions" role="group" aria-label={strings.chatActions(info.title)}>
      {actions.map(([name, label, run]) => (
        <button
          key={name}
          type="button"
          class="small-button"
          data-testid={`chat-${name}`}
          onClick={run}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

async function removeWithUndo(info: ChatInfo, library: Library, ui: Ui): Promise<void> {
  const wasOpen = library.current.peek().id === info.id;
  const record = await library.remove(info.id);
  if (!record) return;
  ui.drawerOpen.value = false; // what is said about it would lie under a drawer
  focusComposer();
  const bringBack = async () => {
    await library.add([record]);
    if (wasOpen) await library.open(info.id);
  };
  ui.say(strings.chatDeleted(info.title), { label: strings.undo, run: () => void bringBack() });
}

interface RenameProps {
  readonly title: string;
  /** title: null when it stays. byKey: whether the focus is to stay with the chat. */
  readonly onDone: (title: string | null, byKey: boolean) => void;
}

/** Enter and leaving the field keep the title, Escape does not. */
function RenameField({ title, onDone }: RenameProps) {
  const field = useRef<HTMLInputElement>(null);
  const settled = useRef(false);
  useEffect(() => {
    field.current?.select();
  }, []);
  const settle = (keep: boolean, byKey: boolean) => {
    if (settled.current) return; // a field that goes away is left, too
    settled.current = true;
    onDone(keep ? (field.current?.value ?? null) : null, byKey);
  };
  return (
    <form
      class="rename"
      onSubmit={(event) => {
        event.preventDefault();
        settle(true, true);
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.preventDefault();
        event.stopPropagation();
        settle(false, true);
      }}
    >
      <input
        ref={field}
        type="text"
        data-testid="rename-field"
        aria-label={strings.chatTitle}
        maxLength={60}
        defaultValue={title}
        onBlur={() => {
          settle(true, false);
        }}
      />
    </form>
  );
}
