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
  readonly library: Library;
  readonly ui: Ui;
}

export function Header({ engine, library, ui }: Props) {
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
      <StatusChip engine={engine} conversation={conversation} ui={ui} />
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

interface ChipProps {
  readonly engine: Engine;
  readonly conversation: Conversation;
  readonly ui: Ui;
}

/** Model · device · rate of the last answer; says more when pressed. */
function StatusChip({ engine, conversation, ui }: ChipProps) {
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
      {statusParts(engine, conversation).join(' · ')}
    </button>
  );
}

function statusParts(engine: Engine, conversation: Conversation): readonly string[] {
  const state = engine.state.value;
  if (state.phase === 'loading') return [strings.loading];
  if (state.phase === 'failed') return [strings.unavailable];
  const rate = lastRate(conversation, state.device);
  const parts = [state.modelName, strings.deviceName(state.device)];
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
