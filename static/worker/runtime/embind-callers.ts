/**
 * ONNX Runtime's WebNN provider calls JavaScript through embind, which makes each caller with `new Function`.
 * Our Content-Security-Policy forbids that, and ONNX Runtime then aborts. The text is always of one form
 * (`_emval_create_invoker` of Emscripten), so the same caller is made here without evaluating text. Can go when
 * ONNX Runtime Web is built with -sDYNAMIC_EXECUTION=0.
 */

/** The values that embind gives to the function it makes, by name. */
interface Given {
  readonly toValue: (handle: number) => unknown;
  readonly getStringOrSymbol?: (address: number) => string | symbol;
  readonly toReturnWire?: unknown;
  readonly emval_returnValue?: (wire: unknown, destructors: number, value: unknown) => unknown;
}

type Reader = (address: number) => unknown;
type Caller = (handle: number, method: number, destructors: number, args: number) => unknown;
type Callable = (...args: unknown[]) => unknown;

const FORM = 'return function (handle, methodName, destructorsRef, args) {';
/** Of an argument in WebAssembly's memory. */
const ARGUMENT_BYTES = 8;

/** Makes what embind asks of `Function` from now on; all else is left to `Function` itself. */
export function withoutEvaluation(scope: { Function: unknown }): void {
  const own = scope.Function as FunctionConstructor;
  if (Object.hasOwn(own, MARK)) return;
  const made = new Proxy(own, {
    construct(target, args: unknown[], newTarget) {
      const [names, body] = args;
      if (Array.isArray(names) && typeof body === 'string' && body.startsWith(FORM))
        return callerMaker(names as string[], body);
      return Reflect.construct(target, args, newTarget) as object;
    },
  });
  Object.defineProperty(own, MARK, { value: true });
  scope.Function = made;
}

const MARK = Symbol('localphi');

/** What `new Function(names, body)` would be. */
export function callerMaker(
  names: readonly string[],
  body: string,
): (...values: unknown[]) => Caller {
  return (...values) => {
    const given = Object.fromEntries(names.map((name, i) => [name, values[i]]));
    const readers = names.filter((name) => name.startsWith('argFromPtr'));
    const read = (args: number) =>
      readers.map((name, i) => (given[name] as Reader)(args + ARGUMENT_BYTES * i));
    return caller(given as unknown as Given, body, read);
  };
}

function caller(given: Given, body: string, read: (args: number) => unknown[]): Caller {
  const { toValue, getStringOrSymbol, toReturnWire, emval_returnValue: returned } = given;
  const call = (handle: number, method: number, args: unknown[]): unknown => {
    if (body.includes('new (toValue(handle))'))
      return Reflect.construct(toValue(handle) as new () => object, args);
    if (getStringOrSymbol) {
      const object = toValue(handle) as Record<string | symbol, Callable>;
      return object[getStringOrSymbol(method)]!(...args);
    }
    if (body.includes('toValue(handle)')) return (toValue(handle) as Callable)(...args);
    return args.at(-1); // a cast
  };
  return (handle, method, destructors, args) => {
    const value = call(handle, method, read(args));
    return returned ? returned(toReturnWire, destructors, value) : undefined;
  };
}
