import { describe, expect, test } from 'vitest';

import { calculate } from '../../../page/tools/calculator';
import { tell } from '../../../page/tools/clock';
import { convert } from '../../../page/tools/units';

test.each([
  ['2 + 3 * 4', '14'],
  ['(2 + 3) * 4', '20'],
  ['2 ** 3 ** 2', '512'],
  ['-2 ^ 2', '-4'],
  ['7 // 2 + 7 % 2', '4'],
  ['-7 % 3', '2'],
  ['0.1 + 0.2', '0.3'],
  ['sqrt(2) ^ 2', '2'],
  ['max(3, min(9, 4)) - abs(-1)', '3'],
  ['log(8, 2) + round(2.345, 2)', '5.35'],
  ['sin(radians(30))', '0.5'],
  ['1.5e3 * .5', '750'],
  ['2pi', null],
  ['', null],
  ['1 +', null],
  ['(1', null],
  ['1 / 0', null],
  ['sqrt(-1)', null],
  ['alert(1)', null],
  ['constructor', null],
  ['1; 2', null],
  ['('.repeat(99) + '1', null],
  ['1'.repeat(201), null],
])('%s is %s', (expression, result) => {
  if (result === null) expect(() => calculate(expression)).toThrow(/\.$/);
  else expect(calculate(expression)).toBe(result);
});

describe('units', () => {
  test.each([
    [5, 'km', 'miles', '5 km = 3.10685596119 mi'],
    [100, 'C', 'fahrenheit', '100 °C = 212 °F'],
    [1, 'MiB', 'kB', '1 MiB = 1048.576 kB'],
    [12, 'inches', 'foot', '12 in = 1 ft'],
    [36, 'KM/H', 'm/s', '36 km/h = 10 m/s'],
  ])('%d %s in %s', (value, from, to, written) => {
    expect(convert(value, from, to)).toBe(written);
  });

  test('what cannot be converted is told', () => {
    expect(() => convert(1, 'km', 'kg')).toThrow('km is a unit of length and kg one of mass.');
    expect(() => convert(1, 'parsec', 'km')).toThrow("There is no unit 'parsec'. There are m, km");
    expect(() => convert(-300, 'C', 'K')).toThrow('below absolute zero');
  });
});

test('the clock tells date, time and weekday of a zone', () => {
  const moment = new Date('2026-11-26T22:30:05Z');
  expect(JSON.parse(tell(moment, 'Asia/Tokyo'))).toEqual({
    ...{ date: '2026-11-27', time: '07:30:05', weekday: 'Friday', zone: 'Asia/Tokyo' },
  });
  expect(() => tell(moment, 'Mars/Base')).toThrow("There is no time zone 'Mars/Base'");
});
