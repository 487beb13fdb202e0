/** Conversion of units, by exact factors. */
import { ToolError } from './tool';
import type { PageTool } from './tool';

interface Unit {
  readonly kind: string;
  readonly name: string;
  /** value in the kind's base unit = value × factor + offset */
  readonly factor: number;
  readonly offset: number;
}

const DIGITS = 12;
const [INCH, POUND, GALLON] = [0.0254, 0.45359237, 3.785411784];
const MILE = 63360 * INCH;

/** Kind, names (the written form first), factor, and offset where there is one. */
const ROWS: readonly (readonly [string, string, number, number?])[] = [
  ['length', 'm, metre, metres, meter, meters', 1],
  ['length', 'km, kilometre, kilometres, kilometer, kilometers', 1000],
  ['length', 'cm, centimetre, centimetres, centimeter, centimeters', 0.01],
  ['length', 'mm, millimetre, millimetres, millimeter, millimeters', 0.001],
  ['length', 'in, inch, inches', INCH],
  ['length', 'ft, foot, feet', 12 * INCH],
  ['length', 'yd, yard, yards', 36 * INCH],
  ['length', 'mi, mile, miles', MILE],
  ['length', 'nmi, nautical mile, nautical miles', 1852],
  ['mass', 'kg, kilogram, kilograms, kilo, kilos', 1],
  ['mass', 'g, gram, grams', 0.001],
  ['mass', 'mg, milligram, milligrams', 1e-6],
  ['mass', 't, tonne, tonnes, metric ton, metric tons', 1000],
  ['mass', 'lb, lbs, pound, pounds', POUND],
  ['mass', 'oz, ounce, ounces', POUND / 16],
  ['mass', 'st, stone, stones', 14 * POUND],
  ['temperature', 'K, kelvin', 1],
  ['temperature', '°C, C, celsius, degrees celsius', 1, 273.15],
  ['temperature', '°F, F, fahrenheit, degrees fahrenheit', 5 / 9, 273.15 - 160 / 9],
  ['volume', 'l, litre, litres, liter, liters', 1],
  ['volume', 'ml, millilitre, millilitres, milliliter, milliliters', 0.001],
  ['volume', 'm³, m3, cubic metre, cubic metres, cubic meter, cubic meters', 1000],
  ['volume', 'gal, gallon, gallons', GALLON],
  ['volume', 'pt, pint, pints', GALLON / 8],
  ['volume', 'cup, cups', GALLON / 16],
  ['volume', 'fl oz, fluid ounce, fluid ounces', GALLON / 128],
  ['speed', 'm/s, metres per second, meters per second', 1],
  ['speed', 'km/h, kmh, kph, kilometres per hour, kilometers per hour', 1 / 3.6],
  ['speed', 'mph, miles per hour', MILE / 3600],
  ['speed', 'kn, knot, knots', 1852 / 3600],
  ['area', 'm², m2, square metre, square metres, square meter, square meters', 1],
  [
    'area',
    'km², km2, square kilometre, square kilometres, square kilometer, square kilometers',
    1e6,
  ],
  ['area', 'ha, hectare, hectares', 1e4],
  ['area', 'acre, acres', 43560 * (12 * INCH) ** 2],
  ['area', 'ft², ft2, square foot, square feet', (12 * INCH) ** 2],
  ['data', 'B, byte, bytes', 1],
  ['data', 'kB, kilobyte, kilobytes', 1e3],
  ['data', 'MB, megabyte, megabytes', 1e6],
  ['data', 'GB, gigabyte, gigabytes', 1e9],
  ['data', 'TB, terabyte, terabytes', 1e12],
  ['data', 'KiB, kibibyte, kibibytes', 2 ** 10],
  ['data', 'MiB, mebibyte, mebibytes', 2 ** 20],
  ['data', 'GiB, gibibyte, gibibytes', 2 ** 30],
];

const UNITS = new Map(
  ROWS.flatMap(([kind, names, factor, offset = 0]) => {
    const all = names.split(', ');
    const unit: Unit = { kind, name: all[0]!, factor, offset };
    return all.map((name) => [name, unit] as const);
  }),
);
const WITHOUT_CASE = new Map([...UNITS].map(([name, unit]) => [name.toLowerCase(), unit]));

const NAME = { type: 'string', maxLength: 30 };

export const CONVERTER: PageTool = {
  name: 'convert',
  description:
    'Convert a number from one unit to another: length, mass, temperature, volume, speed, area, data.',
  parameters: JSON.stringify({
    type: 'object',
    properties: {
      value: { type: 'number', description: 'The number to convert' },
      from_unit: { ...NAME, description: 'Unit of the number, like km, lb, °C, l, mph, m², MB' },
      to_unit: {
        ...NAME,
        description: 'Unit that is wanted, like mi, kg, °F, gal, km/h, acre, MiB',
      },
    },
    required: ['value', 'from_unit', 'to_unit'],
  }),
  run: ({ value, from_unit: from, to_unit: to }) =>
    convert(Number(value), String(from), String(to)),
};

/** Throws a ToolError. */
export function convert(value: number, from: string, to: string): string {
  const [source, target] = [find(from), find(to)];
  if (source.kind !== target.kind) {
    throw new ToolError(
      `${source.name} is a unit of ${source.kind} and ${target.name} one of ${target.kind}.`,
    );
  }
  if (!Number.isFinite(value)) throw new ToolError('A finite number is wanted.');
  const base = value * source.factor + source.offset;
  if (source.kind === 'temperature' && base < 0) {
    throw new ToolError(`${value} ${source.name} is below absolute zero.`);
  }
  const converted = (base - target.offset) / target.factor;
  return `${value} ${source.name} = ${Number(converted.toPrecision(DIGITS))} ${target.name}`;
}

function find(name: string): Unit {
  const asked = name.trim().replace(/\s+/g, ' ');
  const unit = UNITS.get(asked) ?? WITHOUT_CASE.get(asked.toLowerCase());
  if (unit) return unit;
  const names = new Set([...UNITS.values()].map((known) => known.name));
  throw new ToolError(`There is no unit '${asked}'. There are ${[...names].join(', ')}.`);
}
