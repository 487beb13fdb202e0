/** What is under way, and how the page steers it. */
import { LocalphiError } from '../shared/errors';
import type { CancelMessage, GoOnMessage, PauseMessage } from '../shared/protocol';
import { Gate } from './files/gate';

export interface Exchange {
  /** Aborted by `cancel`; the reason is a `stopped` error. */
  readonly signal: AbortSignal;
  /** Closed by `pause`, opened by `resume`. */
  readonly gate: Gate;
  /** Resolves with the next `go-on`, rejects when cancelled. */
  goneOn(): Promise<void>;
}

interface Steering {
  readonly exchange: Exchange;
  readonly controller: AbortController;
  /** Closed while a question is open. */
  readonly question: Gate;
}

export class Exchanges {
  readonly #open = new Map<number, Steering>();

  begin(id: number): Exchange {
    const controller = new AbortController();
    const question = new Gate();
    const exchange: Exchange = {
      signal: controller.signal,
      gate: new Gate(),
      goneOn: () => {
        question.closed = true;
        return question.passed({ signal: controller.signal });
      },
    };
    this.#open.set(id, { exchange, controller, question });
    return exchange;
  }

  /** No-op for an exchange that is over. */
  steer({ type: wish, id }: CancelMessage | PauseMessage | GoOnMessage): void {
    const steering = this.#open.get(id);
    if (!steering) return;
    switch (wish) {
      case 'cancel':
        steering.controller.abort(new LocalphiError('stopped', 'loading the model was stopped'));
        break;
      case 'pause':
      case 'resume':
        steering.exchange.gate.closed = wish === 'pause';
        break;
      case 'go-on':
        steering.question.closed = false;
        break;
      default:
        wish satisfies never;
    }
  }

  end(id: number): void {
    this.#open.delete(id);
  }
}
