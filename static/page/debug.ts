import type { Message } from '../shared/protocol';
import type { Engine } from './engine';
import { steadyChat } from './steady-answer';

/** What tests compare between devices. */
interface GeneratedIds {
  readonly device: string;
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  readonly text: string;
  /** Devices that took over in the middle. */
  readonly moved: readonly string[];
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
      let text = '';
      const moved: string[] = [];
      const handlers = {
        onReading: () => {},
        onMoved: (device: string) => {
          moved.push(device);
        },
        onText: (piece: string) => {
          text += piece;
        },
      };
      const { signal } = new AbortController();
      const options = { maxTokens, temperature: 0 };
      const end = await steadyChat(engine, messages, options, handlers, { signal });
      if (!end.ids) throw new Error(`${end.stats.device} tells no token ids`);
      const { device, cachedTokens, firstTokenMs } = end.stats;
      return { device, moved, cachedTokens, firstTokenMs, ...end.ids, text };
    },
  };
}
