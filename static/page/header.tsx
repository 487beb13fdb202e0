import type { Device } from '../shared/protocol';
import type { Conversation } from './conversation';
import { DevicePicker } from './device-picker';
import type { Engine } from './engine';
import { Logo } from './logo';
import { strings } from './strings';

interface Props {
  readonly engine: Engine;
  readonly conversation: Conversation;
}

export function Header({ engine, conversation }: Props) {
  return (
    <header class="bar">
      <h1 class="brand">
        <Logo />
        {strings.product}
      </h1>
      <StatusChip engine={engine} conversation={conversation} />
      <DevicePicker engine={engine} conversation={conversation} />
      <button
        type="button"
        class="button"
        data-testid="new-chat"
        onClick={() => {
          conversation.newChat();
        }}
      >
        {strings.newChat}
      </button>
    </header>
  );
}

/** Model · device · rate of the last answer. */
function StatusChip({ engine, conversation }: Props) {
  return (
    <p class="chip" data-testid="status">
      {statusParts(engine, conversation).join(' · ')}
    </p>
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
