import { expect, test } from 'vitest';

import { StopStrings } from '../../worker/runtime/stops';

function run(stops: string[], pieces: string[]): { text: string; stopped: boolean } {
  const filter = new StopStrings(stops);
  let text = '';
  for (const piece of pieces) {
    const result = filter.push(piece);
    text += result.text;
    if (result.stopped) return { text, stopped: true };
  }
  return { text: text + filter.flush(), stopped: false };
}

test('text ends before the stop string, however it is split', () => {
  const whole = 'one END two';
  for (let i = 0; i <= whole.length; i++) {
    const pieces = [whole.slice(0, i), whole.slice(i)];
    expect(run(['END'], pieces)).toEqual({ text: 'one ', stopped: true });
  }
  expect(run(['END'], Array.from(whole))).toEqual({ text: 'one ', stopped: true });
});

test('the earliest of several stop strings counts', () => {
  expect(run(['b', 'ab'], ['xab'])).toEqual({ text: 'x', stopped: true });
});

test('the start of a stop string that does not go on is shown in the end', () => {
  expect(run(['END'], ['one E', 'N'])).toEqual({ text: 'one EN', stopped: false });
});

test('text that cannot begin a stop string is shown at once', () => {
  expect(new StopStrings(['END']).push('abc').text).toBe('abc');
});

test('an empty stop string stops nothing', () => {
  expect(run([''], ['abc'])).toEqual({ text: 'abc', stopped: false });
});
