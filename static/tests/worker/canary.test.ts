import { expect, test } from 'vitest';

import { checkCanary } from '../../worker/canary';
import { logitsInMemory } from '../../worker/runtime/logits';
import type { DecoderSession } from '../../worker/runtime/decoder';

/** A session that counts up from the last id it read. */
function counting(broken = false): DecoderSession {
  return {
    ids: [],
    logitsOfAll: false,
    read: (ids) => {
      const logits = new Float32Array(10);
      logits[(ids.at(-1) ?? 0) + 1] = broken ? NaN : 1;
      return Promise.resolve([logitsInMemory(logits)]);
    },
    rewind: () => {},
    dispose: () => Promise.resolve(),
  };
}

test('the expected ids pass', async () => {
  await expect(checkCanary(counting(), { prompt: [1, 2], expected: [3, 4] })).resolves.toBe(
    undefined,
  );
});

test('the first other id fails, with both', async () => {
  const canary = { prompt: [1, 2], expected: [3, 5, 6] };
  await expect(checkCanary(counting(), canary)).rejects.toMatchObject({
    kind: 'canary',
    message: expect.stringContaining('wanted 3,5, got 3,4') as string,
  });
});

test('nonsense fails', async () => {
  const canary = { prompt: [1], expected: [2] };
  await expect(checkCanary(counting(true), canary)).rejects.toMatchObject({ kind: 'canary' });
});
