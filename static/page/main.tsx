/** Puts the page together and starts it. */
import { effect } from '@preact/signals';
import { options, render } from 'preact';

import { App } from './app';
import { Conversation } from './conversation';
import { exposeDebug } from './debug';
import { Engine } from './engine';
import { Throttle, openHistory } from './history';
import { LocalBackend } from './local-backend';
import { parseLink, preferences, without } from './preferences';
import { RemoteBackend, fetchModelIds } from './remote-backend';
import { rootState } from './root-state';

const SAVE_INTERVAL_MS = 250;

async function start(root: HTMLElement): Promise<void> {
  const link = parseLink(location.search);
  const engine = new Engine(
    {
      browser: (onRungs) => new LocalBackend(startWorker(), onRungs),
      server: (modelId) => new RemoteBackend(modelId),
      modelIds: () => fetchModelIds(),
      rememberedModelId: () => preferences.modelId,
      rememberModelId: (id) => {
        preferences.modelId = id;
      },
    },
    link.modelId,
  );
  engine.start(link.device ?? preferences.device);
  if (link.debug) exposeDebug(engine);

  const conversation = new Conversation(engine);
  const history = await openHistory();
  conversation.restore(await history.load());
  keep(conversation, (entries) => history.save(entries));
  showState(root, engine, conversation);
  render(<App engine={engine} conversation={conversation} />, root);
  if (link.question !== null) ask(conversation, link.question);
}

function startWorker(): Worker {
  return new Worker(new URL('../worker/main.ts', import.meta.url), { type: 'module' });
}

function ask(conversation: Conversation, question: string): void {
  history.replaceState(null, '', without('q', location.href));
  conversation.newChat();
  conversation.send(question);
}

/** Saves as tokens arrive, and at once when an answer ends or the page is left. */
function keep(
  conversation: Conversation,
  save: (entries: typeof conversation.snapshot.value) => Promise<void>,
): void {
  const throttle = new Throttle(save, SAVE_INTERVAL_MS);
  let first = true;
  effect(() => {
    const entries = conversation.snapshot.value;
    if (!first) throttle.push(entries);
    first = false;
  });
  effect(() => {
    if (!conversation.busy.value) throttle.flush();
  });
  addEventListener('pagehide', () => {
    throttle.flush();
  });
}

function showState(root: HTMLElement, engine: Engine, conversation: Conversation): void {
  effect(() => {
    const { state, device } = rootState(engine.state.value, conversation);
    root.dataset['state'] = state;
    root.dataset['device'] = device;
  });
}

// Answers can bring hundreds of pieces a second; the screen shows sixty.
options.debounceRendering = (flush) => requestAnimationFrame(flush);

const root = document.getElementById('app');
if (root) void start(root);
