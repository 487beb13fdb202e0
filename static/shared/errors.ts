/**
 * Everything that can go wrong here, told apart by `kind`:
 *
 *   network     a file or the server could not be reached
 *   damaged     a file's bytes are not the ones the manifest promises
 *   manifest    localphi.json or genai_config.json says something we cannot use
 *   variant     the model has no files for a device
 *   context     the conversation is longer than the model can read
 *   device      a device refused or failed in a run
 *   memory      a model has no room on a device
 *   canary      a device computes, but not what the model should answer
 *   timeout     a device did not come up in time
 *   server      the server answered with an error
 *   worker      the worker did not start or died
 *   stopped     the user stopped loading the model, so that something else has to answer
 *   busy        the files are being fetched, perhaps by another tab
 *   request     what was asked of an answer cannot be done; the message names the field
 *   adapter     the adapter that was asked for is not there, is damaged, or is for other weights
 *   no-lora     the model's files for a device take no adapters, so that the server has to answer
 *
 * Cancelling an answer is not an error; it is an AbortSignal.
 */
export type ErrorKind =
  | 'network'
  | 'damaged'
  | 'manifest'
  | 'variant'
  | 'context'
  | 'device'
  | 'memory'
  | 'canary'
  | 'timeout'
  | 'server'
  | 'worker'
  | 'stopped'
  | 'busy'
  | 'request'
  | 'adapter'
  | 'no-lora';

/** An error whose cause is known. `message` says what was wanted and what came. */
export class LocalphiError extends Error {
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LocalphiError';
    this.kind = kind;
  }
}

/** An error as it crosses between page and worker. */
export interface ErrorShape {
  readonly kind: ErrorKind;
  readonly message: string;
}

/** The wire form of whatever was thrown; what has no kind of its own gets `otherwise`. */
export function toShape(error: unknown, otherwise: ErrorKind): ErrorShape {
  if (error instanceof LocalphiError) return { kind: error.kind, message: error.message };
  return { kind: otherwise, message: messageOf(error) };
}

export function fromShape(shape: ErrorShape): LocalphiError {
  return new LocalphiError(shape.kind, shape.message);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
