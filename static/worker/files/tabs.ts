/** Tells other tabs how a download goes, so that one that waits for it can show it. */
import type { LoadProgress } from '../../shared/protocol';

const CHANNEL = 'localphi-downloads';

interface News {
  readonly modelId: string;
  readonly progress: LoadProgress;
}

export interface Tabs {
  tell(progress: LoadProgress): void;
  /** Calls back with what the tab tells that fetches the same model, until the function is called. */
  listen(onProgress: (progress: LoadProgress) => void): () => void;
  close(): void;
}

/** No-ops where the browser has no channels. */
export function openTabs(modelId: string): Tabs {
  const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel(CHANNEL) : null;
  return {
    tell: (progress) => channel?.postMessage({ modelId, progress } satisfies News),
    listen: (onProgress) => {
      const listener = ({ data }: MessageEvent<News>) => {
        if (data.modelId === modelId) onProgress(data.progress);
      };
      channel?.addEventListener('message', listener);
      return () => channel?.removeEventListener('message', listener);
    },
    close: () => channel?.close(),
  };
}
