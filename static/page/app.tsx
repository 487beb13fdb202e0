import { Composer } from './composer';
import type { Conversation } from './conversation';
import type { Engine } from './engine';
import { Header } from './header';
import { LoadStatus } from './load-status';
import { Toast } from './toast';
import { Transcript } from './transcript';

interface Props {
  readonly engine: Engine;
  readonly conversation: Conversation;
}

export function App({ engine, conversation }: Props) {
  return (
    <>
      <Header engine={engine} conversation={conversation} />
      <Transcript engine={engine} conversation={conversation} />
      <footer class="dock">
        <Toast conversation={conversation} />
        <LoadStatus engine={engine} />
        <Composer conversation={conversation} />
      </footer>
    </>
  );
}
