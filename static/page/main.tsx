/** Puts the page together and starts it. */
import { effect } from '@preact/signals';
import { options, render } from 'preact';

import { LocalphiError } from '../shared/errors';
import { AdapterSource } from './adapter-source';
import { chatIdIn, withChat } from './address';
import { App } from './app';
import { openChannel } from './chats/channel';
import { Library } from './chats/library';
import { exposeDebug } from './debug';
import { Engine } from './engine';
import { openHistory } from './history';
import { LocalBackend } from './local-backend';
import { ServerCatalogue } from './models/catalogue';
import { Shelf } from './models/shelf';
import { keepForOffline } from './offline';
import { persistStorage } from './persist';
import { parseLink, preferences, without } from './preferences';
import { RemoteBackend, fetchModelIds } from './remote-backend';
import { rootState } from './root-state';
import { ServerKey } from './server-key';
import { Settings } from './settings';
import { startWorker } from './start-worker';
import { speak, strings } from './strings';
import { ServerTools } from './tools/server-tools';
import { Ui } from './ui';

/** Less than this, zoom counted in, leaves no room for a list beside the chat. Style sheets know it, too. */
const NARROW = '(width < 56rem)';

async function start(root: HTMLElement): Promise<void> {
  const link = parseLink(location.search);
  const serverKey = new ServerKey();
  const server = (modelId: string) => new RemoteBackend(modelId, serverKey.fetch);
  const engine = new Engine(
    {
      browser: (onRungs) => new LocalBackend(newWorker(serverKey), onRungs),
      server,
      modelIds: () => fetchModelIds(serverKey.fetch),
      rememberedModelId: () => preferences.modelId,
      rememberModelId: (id) => {
        preferences.modelId = id;
      },
      persist: () => persistStorage(),
      contextLength: (modelId) => preferences.contextLengths[modelId] ?? null,
    },
    link.modelId,
  );
  engine.start(link.device ?? preferences.device);
  if (link.debug) exposeDebug(engine);

  const speaking = speak();
  const settings = new Settings();
  const serverTools = new ServerTools(serverKey.fetch);
  const source = new AdapterSource(engine, server, settings);
  const library = new Library(
    source,
    () => ({ ...settings.forAnswer(), serverTools: () => serverTools.get() }),
    await openHistory(),
    openChannel(),
  );
  const ui = new Ui(matchMedia(NARROW));
  await library.load().catch(() => {}); // a list that cannot be read is empty
  await followAddress(library, ui);
  addEventListener('pagehide', () => {
    library.flush();
  });
  await speaking;
  showState(root, engine, library);
  const shelf = new Shelf(new ServerCatalogue(serverKey.fetch));
  render(
    <App {...{ engine, adapter: source.adapter, library, settings, shelf, serverKey, ui }} />,
    root,
  );
  if (link.question !== null) ask(library, link.question);
  await keepForOffline(ui);
}

/**
 * Its key is the one of this moment: the page has asked the server for its models by then.
 * Throws where the browser gives a worker nothing to work with: no hashes, no storage, no GPU.
 */
function newWorker(serverKey: ServerKey): Worker {
  if (!isSecureContext) throw new LocalphiError('worker', strings.insecure);
  return startWorker(serverKey.value.peek());
}

function ask(library: Library, question: string): void {
  history.replaceState(null, '', without('q', location.href));
  library.newChat();
  library.current.peek().send(question);
}

/** Keeps the address and the open chat the same, whichever of them changes. */
async function followAddress(library: Library, ui: Ui): Promise<void> {
  const follow = async () => {
    const chatId = chatIdIn(location.hash);
    if (chatId === null) library.newChat();
    else if (!(await library.open(chatId))) {
      ui.warn(strings.chatGone);
      library.newChat();
    }
  };
  await follow();
  addEventListener('popstate', () => void follow());
  let shownId = library.current.peek().id;
  effect(() => {
    const { id } = library.current.value;
    const listed = library.chats.value.some((info) => info.id === id) ? id : null;
    if (chatIdIn(location.hash) !== listed) {
      const address = withChat(location.href, listed);
      // A new chat that enters the list is where one is already; another chat is a step.
      if (id === shownId) history.replaceState(null, '', address);
      else history.pushState(null, '', address);
    }
    shownId = id;
  });
}

function showState(root: HTMLElement, engine: Engine, library: Library): void {
  effect(() => {
    const { state, device } = rootState(engine.state.value, library.current.value);
    root.dataset['state'] = state;
    root.dataset['device'] = device;
  });
}

// Answers can bring hundreds of pieces a second; the screen shows sixty.
options.debounceRendering = (flush) => requestAnimationFrame(flush);

const root = document.getElementById('app');
if (root) void start(root);
