import { LocalphiError, messageOf } from '../shared/errors';
import type { Canary } from '../shared/manifest';
import type { Logits } from './runtime/logits';
import { NO_RULES, Sampler } from './runtime/sampler';
import type { DecoderSession } from './runtime/decoder';

/**
 * Rejects with `canary` unless the session answers the canary's prompt as expected.
 * Some providers compute nonsense without an error; this is how we notice. The session forgets all.
 */
export async function checkCanary(session: DecoderSession, canary: Canary): Promise<void> {
  session.rewind(0);
  const ids: number[] = [];
  let next = canary.prompt;
  for (const expected of canary.expected) {
    const id = await choose((await session.read(next)).at(-1)!);
    ids.push(id);
    if (id !== expected) {
      throw wrong(`wanted ${canary.expected.slice(0, ids.length).join()}, got ${ids.join()}`);
    }
    next = [id];
  }
  session.rewind(0);
}

/** Greedily, the way answers are chosen: that is under test, too. */
async function choose(logits: Logits): Promise<number> {
  try {
    return await new Sampler({ temperature: 0, topP: 1, topK: 0, ...NO_RULES }, 0).choose(logits);
  } catch (error) {
    throw wrong(messageOf(error));
  }
}

function wrong(detail: string): LocalphiError {
  return new LocalphiError('canary', `the test question was answered wrongly: ${detail}`);
}
