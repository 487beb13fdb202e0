/**
 * What a JSON schema says: what its references mean, schemas that must all fit as one, options told apart.
 * The server has the same in `engine/schema_words.py`; both pass `tests/vectors/schemas.json`.
 */
import { quote } from '../../shared/json-text';

export type Schema = Readonly<Record<string, unknown>>;

export const MAX_DEPTH = 32;
/** Options, each of which is held against each other. */
const MAX_ONE_OF = 64;

export const STRING = ['minLength', 'maxLength', 'pattern', 'format'] as const;
export const LOWER: readonly string[] = ['minimum', 'exclusiveMinimum'];
export const UPPER: readonly string[] = ['maximum', 'exclusiveMaximum'];
export const NUMBER: readonly string[] = [...LOWER, ...UPPER, 'multipleOf'];
const ITEMS = ['items', 'prefixItems', 'additionalItems'];
const ARRAY = [...ITEMS, 'minItems', 'maxItems', 'uniqueItems'];
export const OBJECT: readonly string[] = [
  ...['properties', 'required', 'additionalProperties', 'patternProperties', 'propertyNames'],
  ...['minProperties', 'maxProperties'],
];
export const TYPES: ReadonlyMap<string, readonly string[]> = new Map([
  ['object', OBJECT],
  ['array', ARRAY],
  ['string', STRING],
  ['number', NUMBER],
  ['integer', NUMBER],
  ['boolean', []],
  ['null', []],
] as const);
export const CHOICES: readonly string[] = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'];
export const CONSTRAINTS: ReadonlySet<string> = new Set([
  ...[...STRING, ...NUMBER, ...ARRAY, ...OBJECT, ...CHOICES, 'type'],
]);
export const REFUSED: readonly string[] = [
  ...['not', 'if', 'then', 'else', 'contains', 'dependencies', 'dependentRequired'],
  ...[
    'dependentSchemas',
    'unevaluatedProperties',
    'unevaluatedItems',
    '$dynamicRef',
    '$recursiveRef',
  ],
];

export type Refuse = (why: string) => never;

export function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** JSON in ASCII with ", " and ": " between its parts, as Python writes it. */
export function asciiJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asciiJson).join(', ')}]`;
  if (isObject(value)) {
    const pairs = Object.entries(value).map(
      ([name, item]) => `${asciiJson(name)}: ${asciiJson(item)}`,
    );
    return `{${pairs.join(', ')}}`;
  }
  return JSON.stringify(value).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A schema, to look up what stands elsewhere in it. refuse: throws for a reason. */
export class SchemaDocument {
  readonly root: unknown;
  readonly #refuse: Refuse;

  constructor(root: unknown, refuse: Refuse) {
    this.root = root;
    this.#refuse = refuse;
  }

  target(ref: unknown): unknown {
    if (typeof ref !== 'string' || !(ref === '#' || ref.startsWith('#/'))) {
      return this.#refuse("'$ref' must point into the schema itself ('#/$defs/…')");
    }
    let target = this.root;
    for (const part of ref.split('/').slice(1)) {
      const key = unquoted(part).replaceAll('~1', '/').replaceAll('~0', '~');
      // zod points to where it wrote something first, as into an anyOf
      const within: unknown = Array.isArray(target) ? Object.assign({}, target) : target;
      if (!isObject(within) || !Object.hasOwn(within, key)) {
        return this.#refuse(`${quote(ref)} points to nothing`);
      }
      target = within[key];
    }
    return target;
  }

  /** The schema, or what it refers to. */
  resolved(schema: unknown): unknown {
    let found = schema;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      if (!isObject(found) || !('$ref' in found)) return found;
      found = this.target(found['$ref']);
    }
    return this.#refuse("its '$ref's go in a circle");
  }

  /** Whether nothing that the grammar writes for one option fits another. */
  disjoint(options: readonly unknown[]): boolean {
    const schemas = options.map((option) => this.joined([option]));
    const constants = schemas.map(constantTexts).filter((texts) => texts !== null);
    if (constants.length === schemas.length) {
      const all = new Set(constants.flatMap((texts) => [...texts]));
      return all.size === constants.reduce((sum, texts) => sum + texts.size, 0);
    }
    if (schemas.length > MAX_ONE_OF) return false;
    return schemas.every((one, i) =>
      schemas.slice(i + 1).every((other) => this.#apart(one, other)),
    );
  }

  /** Whether it is plain to see that nothing the grammar writes for one fits the other. */
  #apart(one: Schema, other: Schema): boolean {
    if (apartByConstants(one, other)) return true;
    const [kinds, otherKinds] = [kindsOf(one), kindsOf(other)];
    if (kinds.size > 0 && otherKinds.size > 0 && common(kinds, otherKinds).length === 0)
      return true;
    if (!isOnlyObject(kinds) || !isOnlyObject(otherKinds)) return false;
    const [names, otherNames] = [requiredNames(one), requiredNames(other)];
    if (beyond(names, written(other)) && beyond(otherNames, written(one))) {
      // choices bring names of their own
      return !CHOICES.some((word) => word in one || word in other);
    }
    const named = common(namesOf(one), namesOf(other));
    return common(names, otherNames).some((name) => {
      if (!named.includes(name)) return false;
      const [mine, yours] = [one, other].map((schema) =>
        this.resolved((schema['properties'] as Schema)[name]),
      );
      return apartByConstants(mine, yours);
    });
  }

  /** One schema that says what all of them say. */
  joined(schemas: readonly unknown[]): Schema {
    const parts = schemas.flatMap((schema) => this.#parts(schema));
    const said = new Map<string, unknown>();
    for (const part of parts) {
      for (const [word, value] of Object.entries(part)) {
        const twice = said.has(word) && CONSTRAINTS.has(word);
        said.set(word, twice ? this.#both(word, said.get(word), value) : value);
      }
    }
    const joined: Schema = Object.fromEntries(said);
    const names = namesOf(joined);
    const excludes = ({ additionalProperties: others = true }: Schema) =>
      !(others === true || (isObject(others) && Object.keys(others).length === 0));
    if (parts.some((part) => excludes(part) && beyond(names, namesOf(part)))) {
      this.#refuse("'additionalProperties' excludes properties of another schema that must fit");
    }
    if (parts.filter((part) => ITEMS.some((word) => word in part)).length > 1) {
      this.#refuse("'items' in several schemas that must all fit is not supported");
    }
    return joined;
  }

  #both(word: string, one: unknown, other: unknown): unknown {
    if (sortedJson(one) === sortedJson(other)) return one;
    if (word === 'required' && Array.isArray(one) && Array.isArray(other)) {
      return [...(one as unknown[]), ...(other as unknown[])];
    }
    if (word === 'properties' && isObject(one) && isObject(other)) {
      const shared = Object.keys(one).filter((name) => Object.hasOwn(other, name));
      const both = shared.map((name) => [name, { allOf: [one[name], other[name]] }] as const);
      return { ...one, ...other, ...Object.fromEntries(both) };
    }
    const kinds = word === 'type' ? commonTypes(one, other) : [];
    if (kinds.length > 0) return kinds;
    return this.#refuse(
      `it says '${word}' in several ways that must all fit, which is not supported`,
    );
  }

  /** The schema and what it refers to, each without its `$ref`. */
  #parts(schema: unknown): readonly Schema[] {
    const parts: Schema[] = [];
    let found = schema;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      if (found === true) return parts;
      if (!isObject(found)) {
        return this.#refuse(`${asciiJson(found).slice(0, 60)} is not a schema that anything fits`);
      }
      if (!('$ref' in found)) return [...parts, found];
      const { $ref: ref, ...others } = found;
      parts.push(others);
      found = this.target(ref);
    }
    return this.#refuse("its '$ref's go in a circle");
  }
}

/** The types a schema names, else those its words speak of; empty for a schema that says nothing. */
export function typesOf(schema: Schema): readonly string[] {
  const named = schema['type'];
  if (Array.isArray(named) && named.length > 0) return named.map(String);
  if (named === undefined || named === null) return typesOfWords(schema);
  return [typeof named === 'string' ? named : asciiJson(named)];
}

function typesOfWords(schema: Schema): readonly string[] {
  return [...TYPES]
    .filter(([kind, words]) => kind !== 'integer' && words.some((word) => word in schema))
    .map(([kind]) => kind);
}

/** The types of what may fit, an integer being a number; empty for a schema that does not say. */
function kindsOf(schema: Schema): Set<string> {
  const constants = constantsOf(schema);
  if (constants && !('type' in schema)) {
    return new Set(
      [...TYPES.keys()].filter((kind) => kind !== 'integer' && constants.some((c) => isA(c, kind))),
    );
  }
  return new Set(typesOf(schema).map((kind) => (kind === 'integer' ? 'number' : kind)));
}

function isOnlyObject(kinds: ReadonlySet<string>): boolean {
  return kinds.size === 1 && kinds.has('object');
}

/** The types that both values of `type` allow. */
function commonTypes(one: unknown, other: unknown): readonly string[] {
  const both = common(withInteger(one), withInteger(other));
  return [...TYPES.keys()].filter(
    (kind) => both.includes(kind) && !(kind === 'integer' && both.includes('number')),
  );
}

function withInteger(named: unknown): Set<string> {
  const kinds = new Set(typesOf({ type: named }));
  return kinds.has('number') ? kinds.add('integer') : kinds;
}

export function requiredNames(schema: unknown): Set<string> {
  const required = isObject(schema) ? schema['required'] : undefined;
  if (!Array.isArray(required)) return new Set();
  return new Set(required.filter((name) => typeof name === 'string'));
}

/** The properties that a schema names. */
function namesOf(schema: Schema): Set<string> {
  const properties = schema['properties'];
  return new Set(isObject(properties) ? Object.keys(properties) : []);
}

/** The only names that the grammar writes for an object that has some. */
function written(schema: Schema): Set<string> {
  return new Set([...namesOf(schema), ...requiredNames(schema)]);
}

/** Whether nothing fits, as zod says of what may be left out (`not` anything). */
export function isNothing(schema: unknown): boolean {
  if (schema === false) return true;
  const not = isObject(schema) ? schema['not'] : undefined;
  return not === true || (isObject(not) && Object.keys(not).length === 0);
}

/** The constants of a schema that is a list of them, null for any other. */
function constantsOf(schema: unknown): readonly unknown[] | null {
  if (!isObject(schema)) return null;
  const values = 'const' in schema ? [schema['const']] : schema['enum'];
  return Array.isArray(values) ? values : null;
}

export function constantTexts(schema: unknown): Set<string> | null {
  const constants = constantsOf(schema);
  return constants && new Set(constants.map(sortedJson));
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    isObject(item)
      ? Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}

function apartByConstants(one: unknown, other: unknown): boolean {
  const [constants, others] = [constantTexts(one), constantTexts(other)];
  return constants !== null && others !== null && common(constants, others).length === 0;
}

export function isA(value: unknown, kind: string): boolean {
  switch (kind) {
    case 'integer':
      return Number.isInteger(value);
    case 'number':
    case 'string':
    case 'boolean':
      return typeof value === kind;
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value);
    case 'null':
      return value === null;
    default:
      return false;
  }
}

function common(one: ReadonlySet<string>, other: ReadonlySet<string>): readonly string[] {
  return [...one].filter((name) => other.has(name));
}

/** Whether one has something that the other has not. */
function beyond(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return [...one].some((name) => !other.has(name));
}

function unquoted(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
