import { expect, test } from 'vitest';

import { callerMaker, withoutEvaluation } from '../../worker/runtime/embind-callers';

class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}
}

const HANDLES = [{ add: (a: number, b: number) => a + b }, Point, (a: number) => -a, 'word'];
const METHODS = ['add'];

/** As embind writes it for a number of arguments, and what it gives to it. */
function asked(form: string, args: number, returns = true) {
  const given: Record<string, unknown> = { toValue: (handle: number) => HANDLES[handle] };
  const read = Array.from({ length: args }, (_, i) => {
    given[`argFromPtr${i}`] = (address: number) => address * 10;
    return `argFromPtr${i}(args${i ? `+${8 * i}` : ''})`;
  });
  if (form.includes('methodName')) given['getStringOrSymbol'] = (at: number) => METHODS[at];
  const call = `${form}(${read.join()})`;
  if (returns) {
    given['toReturnWire'] = 'wire';
    given['emval_returnValue'] = (...told: unknown[]) => told;
  }
  const said = returns ? `return emval_returnValue(toReturnWire, destructorsRef, ${call})` : call;
  return {
    names: Object.keys(given),
    values: Object.values(given),
    body: `return function (handle, methodName, destructorsRef, args) {\n  ${said}\n  }`,
  };
}

const FORMS = {
  'a method': [asked('toValue(handle)[getStringOrSymbol(methodName)]', 2), 0],
  'a class': [asked('new (toValue(handle))', 2), 1],
  'a function': [asked('toValue(handle)', 1), 2],
  'a cast': [asked('', 1), 3],
  'what gives nothing back': [asked('toValue(handle)', 1, false), 2],
} as const;

for (const [name, [{ names, values, body }, handle]] of Object.entries(FORMS)) {
  test(`${name} is called as by the text itself`, () => {
    const made = callerMaker(names, body)(...values);
    const evaluated =
      // eslint-disable-next-line @typescript-eslint/no-implied-eval -- what it replaces
      (new Function(...names, body) as (...given: readonly unknown[]) => typeof made)(...values);
    expect(made(handle, 0, 77, 3)).toEqual(evaluated(handle, 0, 77, 3));
  });
}

test('only such texts are taken, and Function stays what it is', () => {
  const asks: unknown[] = [];
  class Own {
    readonly own = true;

    constructor(...args: unknown[]) {
      asks.push(args);
    }
  }
  const scope: { Function: unknown } = { Function: Own };
  withoutEvaluation(scope);
  withoutEvaluation(scope);
  const Made = scope.Function as new (...args: unknown[]) => unknown;
  const { names, body } = asked('toValue(handle)', 1);
  expect(new Made(names, body)).toBeTypeOf('function');
  expect(new Made('a', 'return a')).toBeInstanceOf(Own);
  expect(asks).toEqual([['a', 'return a']]);
});
