import { useSignal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { useCallback, useEffect } from 'preact/hooks';

import type { Library } from './chats/library';
import { Side } from './chats/side';
import { Composer } from './composer';
import type { Engine } from './engine';
import { Header } from './header';
import { Help } from './help';
import { KeyDialog } from './key-dialog';
import { LoadStatus } from './load-status';
import { ModelsDialog } from './models/models-dialog';
import type { Shelf } from './models/shelf';
import type { ServerKey } from './server-key';
import type { Settings } from './settings';
import { SettingsDialog } from './settings-dialog';
import { actionOf, isTyping } from './shortcuts';
import type { Action } from './shortcuts';
import { Toast } from './toast';
import { Transcript } from './transcript';
import { focusOn } from './ui';
import type { Ui } from './ui';

interface Props {
  readonly engine: Engine;
  /** Of the model, which then answers on the server; null for none. */
  readonly adapter: ReadonlySignal<string | null>;
  readonly library: Library;
  readonly settings: Settings;
  readonly shelf: Shelf;
  readonly serverKey: ServerKey;
  readonly ui: Ui;
}

export function App({ engine, adapter, library, settings, shelf, serverKey, ui }: Props) {
  const keyRequest = serverKey.request.value;
  const conversation = library.current.value;
  const editing = useSignal<string | null>(null);
  useShortcuts(library, ui);
  const editLast = () => {
    const last = conversation.entries.peek().findLast(({ role }) => role === 'user');
    if (last) editing.value = last.id;
  };
  const contextLength = useCallback(async () => {
    const state = engine.state.peek();
    const loaded = state.phase === 'ready' ? state.model : null;
    return (loaded ?? (await shelf.model(engine.modelId.peek())))?.contextLength ?? null;
  }, [shelf, engine]);
  const closeDialog = () => {
    ui.dialog.value = null;
  };
  return (
    <>
      <Side library={library} ui={ui} />
      <div class="stage">
        <Header engine={engine} adapter={adapter.value} library={library} ui={ui} />
        <Transcript
          key={conversation.id}
          engine={engine}
          adapter={adapter.value}
          conversation={conversation}
          editing={editing}
        />
        <footer class="dock">
          {ui.dialog.value !== 'models' && <Toast ui={ui} />}
          <LoadStatus engine={engine} />
          <Composer
            key={conversation.id}
            conversation={conversation}
            ui={ui}
            contextLength={contextLength}
            onEditLast={editLast}
          />
        </footer>
      </div>
      {ui.dialog.value === 'help' && <Help ui={ui} onClose={closeDialog} />}
      {ui.dialog.value === 'settings' && (
        <SettingsDialog {...{ engine, settings, shelf, serverKey }} onClose={closeDialog} />
      )}
      {ui.dialog.value === 'models' && (
        <ModelsDialog engine={engine} shelf={shelf} ui={ui} onClose={closeDialog} />
      )}
      {keyRequest && <KeyDialog key={keyRequest.id} serverKey={serverKey} request={keyRequest} />}
    </>
  );
}

/** Keys that work wherever the focus is, except in a dialog. */
function useShortcuts(library: Library, ui: Ui): void {
  useEffect(() => {
    const listener = (event: KeyboardEvent) => {
      const single = ui.singleKeys.peek() && !isTyping(event.target);
      const action = actionOf(event, single);
      if (!action || event.defaultPrevented || document.querySelector('dialog[open]')) return;
      if (action !== 'stop') event.preventDefault();
      act(action, library, ui);
    };
    document.addEventListener('keydown', listener);
    return () => {
      document.removeEventListener('keydown', listener);
    };
  }, [library, ui]);
}

function act(action: Action, library: Library, ui: Ui): void {
  switch (action) {
    case 'help':
      ui.dialog.value = 'help';
      break;
    case 'composer':
      focusOn('composer');
      break;
    case 'search':
      ui.showList();
      focusOn('search');
      break;
    case 'new-chat':
      library.newChat();
      focusOn('composer');
      break;
    case 'stop':
      library.current.peek().stop();
      break;
    default:
      action satisfies never;
  }
}
