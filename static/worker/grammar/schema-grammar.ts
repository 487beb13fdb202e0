/**
 * A JSON schema as an expression: every text that fits it is JSON that fits the schema.
 *
 * The server makes the same of it in `engine/schema_rules.py`, with the same bounds (a model without any idea
 * of JSON still comes to an end) and the same words for what it refuses; `tests/vectors/schemas.json` holds
 * both to that. Bounds narrow what a schema allows, never widen it.
 */
import { LocalphiError } from '../../shared/errors';
import { quote } from '../../shared/json-text';
import { TooComplex } from './expression';
import type { Expression } from './expression';
import { PatternError } from './patterns';
import * as schemas from './schema-document';
import {
  SchemaDocument,
  asciiJson,
  isNothing,
  isObject,
  requiredNames,
  typesOf,
} from './schema-document';
import type { Schema } from './schema-document';
import { SchemaLeaves, said } from './schema-leaves';
import { TooLarge } from './schema-maker';
import type { SchemaMaker } from './schema-maker';

const MAX_SCHEMA_BYTES = 64 * 1024;
/** Schemas that are joined with what refers to them are read once for each. */
const MAX_VALUES = 10_000;
const [MAX_ITEMS, DEFAULT_ITEMS] = [256, 32];
const [MAP_ITEMS, MAP_KEY_CHARS] = [16, 64];
const [ANY_DEPTH, ANY_ITEMS, ANY_STRING] = [3, 8, 256];

/** Makes the expression of one schema. param: the field that every error thrown here names. */
export class SchemaGrammar {
  readonly #maker: SchemaMaker;
  readonly #param: string;
  readonly #document: SchemaDocument;
  readonly #leaves: SchemaLeaves;
  readonly #openRefs: string[] = [];
  readonly #refs = new Map<string, Expression>();
  #values = 0;

  /** Throws a `request` error. */
  constructor(maker: SchemaMaker, schemaText: string, param: string) {
    this.#maker = maker;
    this.#param = param;
    if (new TextEncoder().encode(schemaText).length > MAX_SCHEMA_BYTES) {
      this.#refuse(`it is larger than ${MAX_SCHEMA_BYTES / 1024} KiB`);
    }
    let root: unknown;
    try {
      root = JSON.parse(schemaText);
    } catch {
      this.#refuse('it is not JSON');
    }
    const refuse = (why: string): never => this.#refuse(why);
    this.#document = new SchemaDocument(root, refuse);
    this.#leaves = new SchemaLeaves(maker, refuse);
  }

  /** JSON that fits the schema. Throws a `request` error. */
  anyText(): Expression {
    return this.#whole(() => this.#value(this.#document.root, 0));
  }

  /** The same, for the arguments of a tool: an object; one without properties is empty, not anything. */
  arguments(): Expression {
    return this.#whole(() => this.#arguments());
  }

  #arguments(): Expression {
    const { type = 'object', ...others } = this.#document.joined([this.#document.root]);
    const isOfObjects = type === 'object' || (Array.isArray(type) && type.join() === 'object');
    if (!isOfObjects) this.#refuse("it must be the schema of an object ('type': 'object')");
    const schema: Schema = { ...others, type };
    this.#refuseWords(schema);
    const words = [...schemas.OBJECT, ...schemas.CHOICES].filter(
      (word) => word !== 'properties' && word !== 'required' && word in schema,
    );
    if (isTruthy(schema['properties']) || isTruthy(schema['required']) || words.length > 0) {
      return this.#value(schema, 0);
    }
    return this.#text('{}');
  }

  #whole(make: () => Expression): Expression {
    try {
      const made = make();
      if (made === this.#maker.expressions.never) this.#refuse('nothing fits it');
      return made;
    } catch (error) {
      if (error instanceof TooLarge) this.#refuse('it is too large');
      if (error instanceof TooComplex) this.#refuse('a pattern in it is too complex');
      if (error instanceof PatternError) this.#refuse(error.message);
      throw error;
    }
  }

  #refuse(why: string): never {
    throw new LocalphiError('request', `'${this.#param}' cannot be used: ${why}.`);
  }

  // Any schema

  #value(schema: unknown, depth: number): Expression {
    if (depth > schemas.MAX_DEPTH) {
      this.#refuse(`it is nested deeper than ${schemas.MAX_DEPTH} levels`);
    }
    if (++this.#values > MAX_VALUES) throw new TooLarge();
    if (schema === true) return this.#anything(ANY_DEPTH);
    if (!isObject(schema)) {
      return this.#refuse(`${asciiJson(schema).slice(0, 60)} is not a schema that anything fits`);
    }
    this.#refuseWords(schema);
    const choice = schemas.CHOICES.find((word) => word in schema);
    if (choice !== undefined) return this.#choice(choice, schema, depth);
    const types = typesOf(schema);
    if (types.length === 0) return this.#anything(ANY_DEPTH);
    return this.#alternatives(types.map((kind) => this.#typed(kind, schema, depth)));
  }

  #refuseWords(schema: Schema): void {
    const refused = schemas.REFUSED.find((word) => word in schema);
    if (refused !== undefined) this.#refuse(`'${refused}' is not supported in schemas`);
  }

  #alternatives(options: readonly Expression[]): Expression {
    return this.#maker.rule(this.#maker.expressions.any(...options));
  }

  /** Any JSON value, `depth` levels deep. */
  #anything(depth: number): Expression {
    const scalars = [
      this.#maker.string(0, ANY_STRING),
      this.#leaves.number({}),
      ...['true', 'false', 'null'].map((word) => this.#text(word)),
    ];
    if (depth === 0) return this.#alternatives(scalars);
    const inner = this.#anything(depth - 1);
    const key = this.#maker.string(1, MAP_KEY_CHARS);
    return this.#alternatives([
      ...scalars,
      this.#mapOf(inner, 0, ANY_ITEMS, key),
      this.#listOf([], inner, 0, ANY_ITEMS),
    ]);
  }

  // $ref, const, enum, anyOf, oneOf, allOf

  #choice(word: string, schema: Schema, depth: number): Expression {
    if (word === 'const' || word === 'enum') {
      const beside = Object.keys(schema).filter(
        (name) => schemas.CONSTRAINTS.has(name) && !['const', 'enum', 'type'].includes(name),
      );
      if (beside.length > 0) {
        this.#refuse(`'${beside.toSorted()[0]}' beside '${word}' is not supported in schemas`);
      }
      return this.#constants(this.#options(schema, word), schema);
    }
    const others = Object.fromEntries(Object.entries(schema).filter(([name]) => name !== word));
    const alone = !Object.keys(others).some((name) => schemas.CONSTRAINTS.has(name));
    if (word === '$ref') {
      if (alone) return this.#ref(schema['$ref'], depth);
      return this.#value(this.#document.joined([{ $ref: schema['$ref'] }, others]), depth + 1);
    }
    const given = this.#options(schema, word);
    if (word === 'allOf') {
      const one =
        alone && given.length === 1 ? given[0] : this.#document.joined([others, ...given]);
      return this.#value(one, depth + 1);
    }
    const possible = given.filter((option) => !isNothing(option));
    let options = possible.length > 0 ? possible : given;
    if (word === 'oneOf') options = this.#tagged(schema, options);
    if (!alone) options = options.map((option) => this.#document.joined([others, option]));
    if (word === 'oneOf' && !this.#document.disjoint(options)) {
      this.#refuse("'oneOf' is supported only where a type or a constant tells options apart");
    }
    return this.#alternatives(options.map((option) => this.#value(option, depth + 1)));
  }

  #options(schema: Schema, word: string): readonly unknown[] {
    const options: unknown = word === 'const' ? [schema['const']] : schema[word];
    if (!Array.isArray(options) || options.length === 0) {
      return this.#refuse(`'${word}' must be a list with something in it`);
    }
    return options;
  }

  /** The options, each with OpenAPI's discriminator: pydantic requires none that has a default. */
  #tagged(schema: Schema, options: readonly unknown[]): readonly unknown[] {
    const discriminator = schema['discriminator'];
    const tag = isObject(discriminator) ? discriminator['propertyName'] : null;
    if (typeof tag !== 'string') return options;
    return options.map((option) =>
      requiredNames(this.#document.resolved(option)).has(tag)
        ? option
        : this.#document.joined([option, { required: [tag] }]),
    );
  }

  #constants(values: readonly unknown[], schema: Schema): Expression {
    const kinds = 'type' in schema ? typesOf(schema) : [...schemas.TYPES.keys()];
    const { enum: listed } = schema;
    const allowed = new Set(
      (Array.isArray(listed) ? (listed as unknown[]) : values).map(asciiJson),
    );
    const fitting = values.filter(
      (value) => allowed.has(asciiJson(value)) && kinds.some((kind) => schemas.isA(value, kind)),
    );
    if (fitting.length === 0) this.#refuse('it has constants, but none that fits');
    return this.#alternatives(fitting.map((value) => this.#text(asciiJson(value))));
  }

  #ref(ref: unknown, depth: number): Expression {
    const target = this.#document.target(ref);
    const name = String(ref);
    if (this.#openRefs.includes(name)) {
      this.#refuse(`${quote(name)} is recursive, which is not supported`);
    }
    let made = this.#refs.get(name);
    if (!made) {
      this.#openRefs.push(name);
      made = this.#value(target, depth + 1);
      this.#openRefs.pop();
      this.#refs.set(name, made);
    }
    return made;
  }

  // One type

  #typed(kind: string, schema: Schema, depth: number): Expression {
    switch (kind) {
      case 'object':
        return this.#object(schema, depth);
      case 'array':
        return this.#array(schema, depth);
      case 'string':
        return this.#leaves.string(schema);
      case 'integer':
        return this.#leaves.integer(schema);
      case 'number':
        return this.#leaves.number(schema);
      case 'boolean':
        return this.#alternatives([this.#text('true'), this.#text('false')]);
      case 'null':
        return this.#text('null');
      default:
        return this.#refuse(`${quote(kind)} is not a type`);
    }
  }

  #array(schema: Schema, depth: number): Expression {
    if (isTruthy(schema['uniqueItems'])) this.#refuse("'uniqueItems' is not supported in schemas");
    let firsts = said(schema, 'prefixItems', []);
    let rest = said(schema, 'items', true);
    if (Array.isArray(rest)) {
      // how drafts before 2020-12 wrote prefixItems
      firsts = rest;
      rest = said(schema, 'additionalItems', true);
    }
    if (!Array.isArray(firsts)) return this.#refuse("'prefixItems' must be a list of schemas");
    const least = this.#leaves.count(schema, 'minItems', 0, MAX_ITEMS);
    if (firsts.length > 0 && rest === true && least <= firsts.length) rest = false;
    const usual = Math.max(least, firsts.length, DEFAULT_ITEMS);
    const most = this.#leaves.most(schema, 'maxItems', usual, MAX_ITEMS);
    const first = firsts.map((item: unknown) => this.#value(item, depth + 1));
    const others = rest === false || most <= firsts.length ? null : this.#value(rest, depth + 1);
    return this.#listOf(first, others, least, most);
  }

  /** A list that begins with `firsts`, as many of them as it is long, and goes on with `rest`. */
  #listOf(
    given: readonly Expression[],
    rest: Expression | null,
    least: number,
    most: number,
  ): Expression {
    const { expressions } = this.#maker;
    const firsts = given.slice(0, most);
    if (least > most || (rest === null && least > firsts.length)) {
      this.#refuse(`no list has ${least} to ${most} of these items`);
    }
    let body = expressions.empty;
    if (rest && most > firsts.length) {
      const [low, high] = [Math.max(0, least - firsts.length), most - firsts.length];
      const more = expressions.sequence(this.#text(', '), rest);
      body =
        firsts.length > 0 ? expressions.repeat(more, low, high) : this.#repeated(rest, low, high);
    }
    for (let number = firsts.length - 1; number >= 0; number--) {
      const comma = this.#text(number > 0 ? ', ' : '');
      body = this.#maker.rule(expressions.sequence(comma, firsts[number]!, body));
      if (number >= least) body = expressions.optional(body);
    }
    return this.#maker.rule(expressions.sequence(this.#text('['), body, this.#text(']')));
  }

  #object(schema: Schema, depth: number): Expression {
    const given = said(schema, 'properties', {});
    const others = said(schema, 'additionalProperties', true);
    if (!isObject(given)) return this.#refuse("'properties' must be an object");
    const wanted = said(schema, 'required', []);
    if (!Array.isArray(wanted) || !wanted.every((name) => typeof name === 'string')) {
      return this.#refuse("'required' must be a list of names");
    }
    const required = new Set(wanted);
    const properties = new Map(
      Object.entries(given).filter(([name, value]) => required.has(name) || !isNothing(value)),
    );
    for (const name of required) if (!properties.has(name)) properties.set(name, others);
    const least = this.#leaves.count(schema, 'minProperties', 0, MAX_ITEMS);
    const most = this.#leaves.most(schema, 'maxProperties', MAP_ITEMS, MAX_ITEMS);
    if (properties.size === 0) return this.#map(schema, least, most, depth);
    this.#checkNames(schema, [...properties.keys()]);
    if (least > required.size || ('maxProperties' in schema && most < properties.size)) {
      this.#refuse("'minProperties' and 'maxProperties' beside 'properties' are not supported");
    }
    const pairs = [...properties].map(([name, value]) => ({
      pair: this.#pair(name, this.#value(value, depth + 1)),
      required: required.has(name),
    }));
    const body = this.#inOrder(pairs);
    return this.#maker.rule(
      this.#maker.expressions.sequence(this.#text('{'), body, this.#text('}')),
    );
  }

  #pair(name: string, value: Expression): Expression {
    const head = this.#text(`${asciiJson(name)}: `);
    return this.#maker.rule(this.#maker.expressions.sequence(head, value));
  }

  /** The pairs, each in its place or, when it is not required, left out; a comma between any two. */
  #inOrder(pairs: readonly { pair: Expression; required: boolean }[]): Expression {
    const { expressions } = this.#maker;
    let firsts: Expression[] = [];
    let rest = expressions.empty; // what may follow a pair that stands already
    for (const { pair, required } of pairs.toReversed()) {
      firsts = [expressions.sequence(pair, rest), ...(required ? [] : firsts)];
      const next = expressions.sequence(this.#text(', '), pair);
      rest = expressions.sequence(required ? next : expressions.optional(next), rest);
      this.#maker.rule(rest);
    }
    const some = this.#alternatives(firsts);
    return pairs.some(({ required }) => required) ? some : expressions.optional(some);
  }

  #checkNames(schema: Schema, names: readonly string[]): void {
    if (isTruthy(schema['patternProperties'])) {
      this.#refuse("'patternProperties' beside 'properties' is not supported");
    }
    const allowed = this.#document.joined([said(schema, 'propertyNames', true)]);
    const words = Object.keys(allowed).filter((word) => schemas.CONSTRAINTS.has(word));
    if (words.every((word) => word === 'type')) return;
    const texts = schemas.constantTexts(allowed);
    if (!texts || !names.every((name) => texts.has(quote(name)))) {
      this.#refuse("'propertyNames' beside 'properties' is supported only where it lists them");
    }
  }

  #map(schema: Schema, least: number, most: number, depth: number): Expression {
    const names: unknown[] = [said(schema, 'propertyNames', true)];
    let values = said(schema, 'additionalProperties', true);
    const byPattern = schema['patternProperties'];
    if (isTruthy(byPattern)) {
      const entries = isObject(byPattern) ? Object.entries(byPattern) : [];
      const [entry] = entries;
      if (!entry || entries.length > 1) {
        return this.#refuse("'patternProperties' with more than one pattern is not supported");
      }
      values = entry[1];
      names.push({ pattern: entry[0] });
    }
    if (isNothing(values) || most === 0) {
      if (least > 0) this.#refuse('an object without properties has none');
      return this.#text('{}');
    }
    if (least > 1) this.#refuse("'minProperties' above 1 is not supported");
    const value = this.#value(values, depth + 1);
    return this.#mapOf(value, least, most, this.#key(this.#document.joined(names), depth));
  }

  #key(names: Schema, depth: number): Expression {
    const constants = ['const', 'enum'].flatMap((word) =>
      word in names ? this.#options(names, word) : [],
    );
    if (constants.length > 0 && constants.every((value) => typeof value === 'string')) {
      return this.#value(names, depth + 1);
    }
    const words = Object.keys(names).filter((word) => schemas.CONSTRAINTS.has(word));
    const ofTexts = words.every(
      (word) => word === 'type' || schemas.STRING.some((w) => w === word),
    );
    if (ofTexts && said(names, 'type', 'string') === 'string') {
      return this.#leaves.string({ minLength: 1, maxLength: MAP_KEY_CHARS, ...names });
    }
    return this.#refuse("'propertyNames' must be the schema of a text");
  }

  #mapOf(value: Expression, least: number, most: number, key: Expression): Expression {
    const { expressions } = this.#maker;
    const pair = this.#maker.rule(expressions.sequence(key, this.#text(': '), value));
    const pairs = this.#repeated(pair, least, most);
    return this.#maker.rule(expressions.sequence(this.#text('{'), pairs, this.#text('}')));
  }

  /** The item `least` to `most` times, most at least 1, with commas between. */
  #repeated(item: Expression, least: number, most: number): Expression {
    const { expressions } = this.#maker;
    const more = expressions.sequence(this.#text(', '), item);
    const some = expressions.sequence(
      item,
      expressions.repeat(more, Math.max(0, least - 1), most - 1),
    );
    return least > 0 ? some : expressions.optional(some);
  }

  #text(text: string): Expression {
    return this.#maker.text(text);
  }
}

/** As Python sees it: nothing, zero and what is empty are not. */
function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return Object.keys(value).length > 0;
  return Boolean(value);
}
