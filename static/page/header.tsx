import type { Device } from '../shared/protocol';
import type { Library } from './chats/library';
import type { Conversation } from './conversation';
import { DevicePicker } from './device-picker';
import type { Engine } from './engine';
import { Icon } from './icon';
import { Logo } from './logo';
import { strings } from './strings';
import { focusComposer } from './ui';
import type { Ui } from './ui';

interface Props {
  readonly engine: Engine;
  /** The adapter that answers, on the server; null for none. */
  readonly adapter: string | null;
  readonly library: Library;
  readonly ui: Ui;
}

export function Header({ engine, adapter, library, ui }: Props) {
  const conversation = library.current.value;
  return (
    <header class="bar">
      <button
        type="button"
        class="icon-button"
        data-testid="toggle-list"
        aria-expanded={ui.listShown}
        aria-label={ui.listShown ? strings.hideChats : strings.showChats}
        onClick={() => {
          ui.toggleList();
        }}
      >
        <Icon name="list" />
      </button>
      <h1 class="brand">
        <Logo />
        {strings.product}
      </h1>
      <StatusChip {...{ engine, adapter, conversation, ui }} />
      <DevicePicker engine={engine} library={library} ui={ui} />
      {!ui.listShown && (
        <button
          type="button"
          class="icon-button"
          data-testid="new-chat"
          aria-label={strings.newChat}
          onClick={() => {
            library.newChat();
            focusComposer();
          }}
        >
          <Icon name="plus" />
        </button>
      )}
    </header>
  );
}

interface ChipProps extends Pick<Props, 'engine' | 'adapter'> {
  readonly conversation: Conversation;
  readonly ui: Ui;
}

/** Model · device · rate of the last answer; says more when pressed. */
function StatusChip({ engine, adapter, conversation, ui }: ChipProps) {
  return (
    <button
      type="button"
      class="chip"
      data-testid="status"
      aria-haspopup="dialog"
      title={strings.models}
      onClick={() => {
        ui.dialog.value = 'models';
      }}
    >
      {statusParts(engine, adapter, conversation).join(' · ')}
    </button>
  );
}

function statusParts(
  engine: Engine,
  adapter: string | null,
  conversation: Conversation,
): readonly string[] {
  const state = engine.state.value;
  if (state.phase === 'loading') return [strings.loading];
  if (state.phase === 'failed') return [strings.unavailable];
  const device = adapter === null ? state.device : 'server';
  const rate = lastRate(conversation, device);
  const names = adapter === null ? [state.modelName] : [state.modelName, adapter];
  const parts = [...names, strings.deviceName(device)];
  return rate === null ? parts : [...parts, strings.rate(rate)];
}

/** Of the last answer that this device gave. */
function lastRate(conversation: Conversation, device: Device): number | null {
  for (const { status } of conversation.entries.value.toReversed()) {
    const now = status.value;
    if (!('stats' in now) || now.stats?.device !== device) continue;
    if (now.stats.tokensPerSecond !== null) return now.stats.tokensPerSecond;
  }
  return null;
}
