import { describe, expect, test } from 'vitest';

import type { LoadProgress } from '../../shared/protocol';
import { Exchanges } from '../../worker/exchanges';
import { Meter } from '../../worker/files/meter';

describe('an exchange', () => {
  test('waits for the answer to its question', async () => {
    const exchanges = new Exchanges();
    const exchange = exchanges.begin(1);
    exchanges.steer({ type: 'go-on', id: 1 }); // before there is a question
    let gone = false;
    const question = exchange.goneOn().then(() => (gone = true));
    await Promise.resolve();
    expect(gone).toBe(false);
    exchanges.steer({ type: 'go-on', id: 1 });
    await question;
  });

  test('ends its question with a cancel', async () => {
    const exchanges = new Exchanges();
    const question = exchanges.begin(1).goneOn();
    exchanges.steer({ type: 'cancel', id: 1 });
    await expect(question).rejects.toMatchObject({ kind: 'stopped' });
  });

  test('is held and let go', () => {
    const exchanges = new Exchanges();
    const { gate } = exchanges.begin(1);
    exchanges.steer({ type: 'pause', id: 1 });
    expect(gate.closed).toBe(true);
    exchanges.steer({ type: 'resume', id: 1 });
    expect(gate.closed).toBe(false);
  });

  test('that is over is left alone', () => {
    const exchanges = new Exchanges();
    const { signal } = exchanges.begin(1);
    exchanges.end(1);
    exchanges.steer({ type: 'cancel', id: 1 });
    expect(signal.aborted).toBe(false);
  });
});

describe('the progress of a download', () => {
  function metering(totalBytes = 1000) {
    const clock = { ms: 0 };
    const told: LoadProgress[] = [];
    const meter = new Meter(
      totalBytes,
      (progress) => told.push(progress),
      () => clock.ms,
    );
    return { clock, told, meter };
  }

  test('has a rate and a time once there is enough to tell', () => {
    const { clock, told, meter } = metering();
    meter.add('a', 100);
    expect(told.at(-1)).toMatchObject({
      loadedBytes: 100,
      bytesPerSecond: null,
      secondsLeft: null,
    });
    clock.ms = 1000;
    meter.add('b', 100);
    expect(told.at(-1)).toMatchObject({ loadedBytes: 200, bytesPerSecond: 100, secondsLeft: 8 });
  });

  test('counts what was at hand, but not into the rate', () => {
    const { clock, told, meter } = metering();
    meter.set('a', 500);
    meter.add('a', 10);
    clock.ms = 1000;
    meter.add('a', 20);
    expect(told.at(-1)).toMatchObject({ loadedBytes: 530, bytesPerSecond: 20 });
  });

  test('forgets how fast it was before a pause', () => {
    const { clock, told, meter } = metering();
    meter.add('a', 100);
    clock.ms = 1000;
    meter.add('a', 100);
    meter.become({ state: 'paused' });
    expect(told.at(-1)).toMatchObject({ state: 'paused', bytesPerSecond: null });
    meter.become({ state: 'paused' });
    expect(told.filter(({ state }) => state === 'paused')).toHaveLength(1);
  });

  test('is told ten times a second at most', () => {
    const { clock, told, meter } = metering();
    for (clock.ms = 0; clock.ms < 1000; clock.ms++) meter.add('a', 1);
    expect(told).toHaveLength(10);
  });
});
