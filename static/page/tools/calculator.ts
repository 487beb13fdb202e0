/** Arithmetic as people write it. Nothing is evaluated but what is read here. */
import { ToolError } from './tool';
import type { PageTool } from './tool';

const MAX_CHARS = 200;
const MAX_DEPTH = 50;
const DIGITS = 15;
const TOKEN =
  /\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|([a-z][a-z0-9]*)|(\*\*|\/\/|[-+*/%^(),]))/iy;

const CONSTANTS: ReadonlyMap<string, number> = new Map([
  ['pi', Math.PI],
  ['e', Math.E],
]);
type Applied = (value: number, other?: number) => number;

const FUNCTIONS: ReadonlyMap<string, Applied> = new Map<string, Applied>([
  ['abs', (value) => Math.abs(value)],
  ['round', (value, digits = 0) => Math.round(value * 10 ** digits) / 10 ** digits],
  ['floor', (value) => Math.floor(value)],
  ['ceil', (value) => Math.ceil(value)],
  ['min', (value, other = value) => Math.min(value, other)],
  ['max', (value, other = value) => Math.max(value, other)],
  ['sqrt', (value) => Math.sqrt(value)],
  ['exp', (value) => Math.exp(value)],
  ['log', (value, base = Math.E) => Math.log(value) / Math.log(base)],
  ['log2', (value) => Math.log2(value)],
  ['log10', (value) => Math.log10(value)],
  ['sin', (value) => Math.sin(value)],
  ['cos', (value) => Math.cos(value)],
  ['tan', (value) => Math.tan(value)],
  ['asin', (value) => Math.asin(value)],
  ['acos', (value) => Math.acos(value)],
  ['atan', (value) => Math.atan(value)],
  ['degrees', (value) => (value * 180) / Math.PI],
  ['radians', (value) => (value * Math.PI) / 180],
]);

export const CALCULATOR: PageTool = {
  name: 'calculate',
  description: 'Calculate an arithmetic expression.',
  parameters: JSON.stringify({
    type: 'object',
    properties: {
      expression: {
        type: 'string',
        description: 'What to calculate, like (3 + 4) * 2 or sqrt(2)',
        maxLength: MAX_CHARS,
      },
    },
    required: ['expression'],
  }),
  run: ({ expression }) => calculate(String(expression)),
};

/** Throws a ToolError. */
export function calculate(text: string): string {
  if (text.length > MAX_CHARS) {
    throw new ToolError(`An expression may have ${MAX_CHARS} characters. Do it in steps.`);
  }
  const value = new Reader(text).whole();
  if (!Number.isFinite(value)) throw new ToolError(`${text} has no finite result.`);
  return String(Number(value.toPrecision(DIGITS)));
}

class Reader {
  readonly #tokens: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#tokens = tokensOf(text);
  }

  whole(): number {
    const value = this.#sum();
    const left = this.#tokens[this.#at];
    if (left !== undefined) throw new ToolError(`'${left}' stands where nothing may follow.`);
    return value;
  }

  #sum(): number {
    if (++this.#depth > MAX_DEPTH) throw new ToolError('It is nested too deeply.');
    let value = this.#product();
    for (;;) {
      if (this.#take('+')) value += this.#product();
      else if (this.#take('-')) value -= this.#product();
      else break;
    }
    this.#depth--;
    return value;
  }

  #product(): number {
    let value = this.#signed();
    for (;;) {
      if (this.#take('*')) value *= this.#signed();
      else if (this.#take('//')) value = Math.floor(value / this.#divisor());
      else if (this.#take('/')) value /= this.#divisor();
      else if (this.#take('%')) {
        const divisor = this.#divisor();
        value -= divisor * Math.floor(value / divisor);
      } else return value;
    }
  }

  #divisor(): number {
    const value = this.#signed();
    if (value === 0) throw new ToolError('Nothing can be divided by zero.');
    return value;
  }

  #signed(): number {
    if (this.#take('-')) return -this.#signed();
    if (this.#take('+')) return this.#signed();
    const base = this.#atom();
    return this.#take('**') || this.#take('^') ? base ** this.#signed() : base;
  }

  #atom(): number {
    if (this.#take('(')) {
      const value = this.#sum();
      this.#close();
      return value;
    }
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new ToolError('The expression ends too early.');
    if (/^[.\d]/.test(token)) return Number(token);
    const name = token.toLowerCase();
    if (this.#take('(')) return this.#call(name);
    const constant = CONSTANTS.get(name);
    if (constant === undefined) throw new ToolError(`'${token}' is not a number.`);
    return constant;
  }

  #call(name: string): number {
    const called = FUNCTIONS.get(name);
    if (!called) {
      throw new ToolError(
        `There is no function '${name}', only ${[...FUNCTIONS.keys()].join(', ')}.`,
      );
    }
    const value = this.#sum();
    const other = this.#take(',') ? this.#sum() : undefined;
    this.#close();
    return called(value, other);
  }

  #close(): void {
    if (!this.#take(')')) throw new ToolError("A ')' is missing.");
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }
}

function tokensOf(text: string): readonly string[] {
  const tokens: string[] = [];
  const trimmed = text.trimEnd();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < trimmed.length) {
    const start = TOKEN.lastIndex;
    const found = TOKEN.exec(trimmed);
    if (!found) throw new ToolError(`'${trimmed.slice(start, start + 10)}' is not arithmetic.`);
    tokens.push(found[1] ?? found[2] ?? found[3]!);
  }
  return tokens;
}
