/**
 * One answer that outlives what makes it. When a device, a worker or the server fails in the middle, the next
 * backend begins with the ids so far and tells the answer from its start; what was told before is passed over
 * here. So nothing is said twice, and nothing is lost.
 */
import { LocalphiError, fromShape, toShape } from '../shared/errors';
import type { CallPiece, ChatOptions, Device, Message } from '../shared/protocol';
import type { AnswerEnd, AnswerHandlers, Backend } from './backend';
import { untilAborted } from './until-aborted';

/** Gives what answers, and another when that has failed; see Engine. */
export interface BackendSource {
  ready(): Promise<Backend>;
  /** Finds another backend; the device it is on, null where there is none. `lost` threw the error. */
  replace(lost: Backend, error: LocalphiError): Promise<Device | null>;
  /** The server, for an answer that this browser cannot make; null where it is not to be asked. */
  server?(): Backend | null;
}

/** As `Backend.chat`, with whatever backends it takes. */
export async function steadyChat(
  source: BackendSource,
  messages: readonly Message[],
  options: ChatOptions,
  handlers: AnswerHandlers,
  { signal }: { signal: AbortSignal },
): Promise<AnswerEnd> {
  const begun = new BegunAnswer(handlers);
  let server: Backend | null = null;
  for (;;) {
    const backend = server ?? (await untilAborted(source.ready(), signal));
    const begunIds = begun.ids.length > 0 ? { begunIds: begun.ids.slice() } : {};
    try {
      const asked = { ...options, ...begunIds };
      const end = await backend.chat(messages, asked, begun.hear(), { signal });
      if (end.reason !== 'cancelled') begun.end();
      return end;
    } catch (error) {
      if (signal.aborted || error instanceof OtherAnswer) throw error;
      const lost = fromShape(toShape(error, 'worker'));
      if (lost.kind === 'no-lora') {
        server = source.server?.() ?? null;
        if (!server) throw error;
        handlers.onMoved('server');
        continue;
      }
      const device = await untilAborted(source.replace(backend, lost), signal);
      if (device === null) throw error;
      handlers.onMoved(device);
    }
  }
}

/** The next backend says something else, and what was said cannot be taken back. */
class OtherAnswer extends LocalphiError {
  constructor() {
    super('device', 'the device failed, and the next one answers otherwise; ask again');
  }
}

/** A call that was told, with as much of its arguments. */
interface ToldCall {
  readonly name: string;
  arguments: string;
}

/** What was told of an answer so far. */
class BegunAnswer {
  /** As far as they are known: of browsers, not of the server. */
  readonly ids: number[] = [];
  readonly #handlers: AnswerHandlers;
  #text = '';
  readonly #calls: ToldCall[] = [];
  #known = new Repeated('', []);

  constructor(handlers: AnswerHandlers) {
    this.#handlers = handlers;
  }

  /** Handlers for a backend that tells the answer from its start. */
  hear(): AnswerHandlers {
    const known = new Repeated(this.#text, this.#calls);
    this.#known = known;
    let heard = 0; // of the ids
    return {
      onReading: (doneTokens, totalTokens) => {
        this.#handlers.onReading(doneTokens, totalTokens);
      },
      onMoved: (device) => {
        this.#handlers.onMoved(device);
      },
      onIds: (ids) => {
        this.ids.splice(heard, ids.length, ...ids);
        heard += ids.length;
      },
      onText: (text) => {
        const added = known.text(text) ?? this.#otherwise(known, text, heard);
        this.#text += added;
        if (added !== '') this.#handlers.onText(added);
      },
      onCall: (piece) => {
        const added = known.call(piece);
        if (added === undefined) throw new OtherAnswer();
        if (added) this.#pass(added);
      },
    };
  }

  /** The answer is over. What the last backend did not say again does not count. */
  end(): void {
    if (this.#known.left > 0) this.#takeBack(this.#known.left);
  }

  /** All that the next one has said, after what was told is unsaid. */
  #otherwise(known: Repeated, text: string, heard: number): string {
    this.#takeBack(this.#text.length);
    this.ids.length = Math.min(heard, this.ids.length);
    return known.forget() + text;
  }

  #takeBack(characters: number): void {
    if (!this.#handlers.onTakenBack || this.#calls.length > 0) throw new OtherAnswer();
    this.#handlers.onTakenBack(characters);
    this.#text = this.#text.slice(0, this.#text.length - characters);
  }

  #pass(piece: CallPiece): void {
    if (piece.type === 'call') this.#calls.push({ name: piece.name, arguments: '' });
    else this.#calls[piece.index]!.arguments += piece.text;
    this.#handlers.onCall?.(piece);
  }
}

/** Passes over what is told once more. */
class Repeated {
  #text: string;
  #at = 0;
  readonly #calls: readonly ToldCall[];
  readonly #heard: number[] = [];

  constructor(text: string, calls: readonly ToldCall[]) {
    this.#text = text;
    this.#calls = calls.map((call) => ({ ...call }));
  }

  /** Characters that were not repeated yet. */
  get left(): number {
    return this.#text.length - this.#at;
  }

  /** What of the text is new, perhaps nothing; null where it is not what was told. */
  text(text: string): string | null {
    const known = this.#text.slice(this.#at, this.#at + text.length);
    if (!text.startsWith(known)) return null;
    this.#at += known.length;
    return text.slice(known.length);
  }

  /** The text that was repeated so far; nothing is known any more. */
  forget(): string {
    const said = this.#text.slice(0, this.#at);
    this.#text = '';
    this.#at = 0;
    return said;
  }

  /** What of the piece is new, null for nothing; undefined where it is not what was told. */
  call(piece: CallPiece): CallPiece | null | undefined {
    const told = this.#calls[piece.index];
    if (!told) return piece;
    if (piece.type === 'call') {
      this.#heard[piece.index] = 0;
      return piece.name === told.name ? null : undefined;
    }
    const at = this.#heard[piece.index] ?? 0;
    const known = told.arguments.slice(at, at + piece.text.length);
    if (!piece.text.startsWith(known)) return undefined;
    this.#heard[piece.index] = at + known.length;
    const text = piece.text.slice(known.length);
    return text === '' ? null : { ...piece, text };
  }
}
