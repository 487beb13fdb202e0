import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import { Dialog } from '../dialog';
import { Icon } from '../icon';
import { strings } from '../strings';
import { focusComposer } from '../ui';
import type { Ui } from '../ui';
import { ChatRow } from './chat-row';
import { downloadAll, importFile } from './files';
import type { Library } from './library';
import { inGroups } from './record';
import type { ChatInfo } from './record';

interface Props {
  readonly library: Library;
  readonly ui: Ui;
}

/** The list of chats: beside the chat where there is room, else a drawer over it. */
export function Side({ library, ui }: Props) {
  if (!ui.listShown) return null;
  if (!ui.narrow.value) {
    return (
      <aside class="side" aria-label={strings.chats} data-testid="side">
        <ChatList library={library} ui={ui} />
      </aside>
    );
  }
  const close = () => {
    ui.drawerOpen.value = false;
  };
  return (
    <Dialog drawer title={strings.chats} onClose={close} testId="drawer">
      <ChatList library={library} ui={ui} />
    </Dialog>
  );
}

function ChatList({ library, ui }: Props) {
  const query = useSignal('');
  const found = useFound(library, query.value);
  const chats = library.chats.value.filter(({ id }) => found?.has(id) !== false);
  return (
    <div class="side-body">
      <button
        type="button"
        class="button new-chat"
        data-testid="new-chat"
        onClick={() => {
          ui.drawerOpen.value = false;
          library.newChat();
          focusComposer();
        }}
      >
        <Icon name="plus" />
        {strings.newChat}
      </button>
      <input
        id="search"
        type="search"
        class="search"
        data-testid="search"
        aria-label={strings.searchChats}
        placeholder={strings.searchChats}
        value={query.value}
        onInput={(event) => {
          query.value = event.currentTarget.value;
        }}
      />
      <nav class="chats" aria-label={strings.chats}>
        <Groups chats={chats} library={library} ui={ui} />
        {chats.length === 0 && (
          <p class="quiet" role="status">
            {query.value.trim() === '' ? strings.noChats : strings.nothingFound}
          </p>
        )}
      </nav>
      <SideFoot library={library} ui={ui} />
    </div>
  );
}

function Groups({ chats, library, ui }: Props & { readonly chats: readonly ChatInfo[] }) {
  return [...inGroups(chats, Date.now())].map(([group, members]) => (
    <section key={group} aria-label={strings.chatGroup[group]}>
      <h2 class="group">{strings.chatGroup[group]}</h2>
      <ul>
        {members.map((info) => (
          <ChatRow key={info.id} info={info} library={library} ui={ui} />
        ))}
      </ul>
    </section>
  ));
}

function SideFoot({ library, ui }: Props) {
  const empty = library.chats.value.length === 0;
  return (
    <div class="side-foot">
      {!library.lasting && <p class="quiet">{strings.notKept}</p>}
      <label class="small-button file">
        {strings.importChats}
        <input
          type="file"
          class="visually-hidden"
          accept=".json,application/json"
          data-testid="import"
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0];
            currentTarget.value = ''; // so that the same file can be chosen again
            if (file) void importFile(file, library, ui);
          }}
        />
      </label>
      <button
        type="button"
        class="small-button"
        data-testid="export-all"
        disabled={empty}
        onClick={() => void downloadAll(library)}
      >
        {strings.exportAll}
      </button>
      <button
        type="button"
        class="small-button"
        data-testid="open-settings"
        onClick={() => {
          ui.drawerOpen.value = false;
          ui.dialog.value = 'settings';
        }}
      >
        {strings.settings}
      </button>
      <button
        type="button"
        class="small-button"
        data-testid="open-help"
        onClick={() => {
          ui.drawerOpen.value = false;
          ui.dialog.value = 'help';
        }}
      >
        {strings.shortcuts}
      </button>
    </div>
  );
}

/** Ids of the chats that fit the query; null while there is none. */
function useFound(library: Library, query: string): ReadonlySet<string> | null {
  const found = useSignal<ReadonlySet<string> | null>(null);
  const chats = library.chats.value;
  useEffect(() => {
    if (query.trim() === '') {
      found.value = null;
      return undefined;
    }
    let current = true;
    const timer = setTimeout(() => {
      void library.find(query).then((ids) => {
        if (current) found.value = ids;
      });
    }, SEARCH_DELAY_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [query, chats, library, found]);
  return found.value;
}

/** Between two keys of somebody who types. */
const SEARCH_DELAY_MS = 120;
