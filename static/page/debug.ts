import type { Message } from '../shared/protocol';
import type { Engine } from './engine';

/** What tests compare between devices. */
interface GeneratedIds {
  readonly device: string;
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  readonly text: string;
  readonly cachedTokens: number;
  readonly firstTokenMs: number;
}

interface DebugHook {
  /** A greedy answer, outside the conversation. Rejects on the server, which keeps ids to itself. */
  generateIds(messages: readonly Message[], maxTokens: number): Promise<GeneratedIds>;
}

declare global {
  interface Window {
    localphiDebug?: DebugHook;
  }
}

/** Adds `window.localphiDebug`. */
export function exposeDebug(engine: Engine): void {
  window.localphiDebug = {
    async generateIds(messages, maxTokens) {
      const backend = await engine.ready();
      let text = '';
      const end = await backend.chat(
        messages,
        { maxTokens, temperature: 0 },
        {
          onReading: () => {},
          onMoved: () => {},
          onText: (piece) => {
            text += piece;
          },
        },
        { signal: new AbortController().signal },
      );
      if (!end.ids) throw new Error(`${end.stats.device} tells no token ids`);
      const { device, cachedTokens, firstTokenMs } = end.stats;
      return { device, cachedTokens, firstTokenMs, ...end.ids, text };
    },
  };
}
