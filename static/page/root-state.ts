import type { Device } from '../shared/protocol';
import type { Conversation } from './conversation';
import type { EngineState } from './engine';

export type PageState = 'loading' | 'ready' | 'generating' | 'error';

/** The page in one word and the device in use ('' for none), for style sheets and tests. */
export function rootState(
  engine: EngineState,
  conversation: Conversation,
): { readonly state: PageState; readonly device: Device | '' } {
  const device = engine.phase === 'ready' ? engine.device : '';
  if (engine.phase === 'loading') return { state: 'loading', device };
  if (conversation.busy.value) return { state: 'generating', device };
  const last = conversation.entries.value.at(-1);
  const failed = engine.phase === 'failed' || last?.status.value.state === 'failed';
  return { state: failed ? 'error' : 'ready', device };
}
