"""A JSON schema as rules of a Lark grammar: every text of the grammar is JSON that fits the schema.

Everything is bounded (strings, digits, lists, maps, depth), so that a model without any idea of JSON still
comes to an end. Bounds narrow what a schema allows, never widen it; so does this: objects with `properties`
have no others, and properties come in the schema's order. Numbers and patterns are llguidance's `%json`.

Schemas that must all fit (`allOf`, words beside `anyOf` or `$ref`) are joined into one before.

What a schema says and the grammar could not hold (`not`, `uniqueItems`, recursion…) is refused by name. Words
that are no constraint (`title`, `default`, unknown ones) are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from localphi.engine import patterns
from localphi.engine.jsontext import quote
from localphi.engine.schema_words import (
    CHOICES,
    CONSTRAINTS,
    LOWER,
    MAX_DEPTH,
    NUMBER,
    OBJECT,
    REFUSED,
    STRING,
    TYPES,
    UPPER,
    SchemaDocument,
    constant_texts,
    is_a,
    is_nothing,
    required_names,
    types_of,
)
from localphi.errors import InvalidRequest

MAX_SCHEMA_BYTES = 64 * 1024
MAX_RULES = 8192
MAX_VALUES = 10_000  # schemas that are joined with what refers to them are read once for each
MAX_STRING = 4096
MAX_ITEMS, DEFAULT_ITEMS = 256, 32
MAP_ITEMS, MAP_KEY_CHARS = 16, 64
ANY_DEPTH, ANY_ITEMS, ANY_STRING = 3, 8, 256
MAX_INTEGER = 2**53 - 1  # what every JSON parser reads exactly
MAX_NUMBER, DECIMAL = 10**12, 1e-6

_CHARACTER = r'([^"\\\x00-\x1f\x7f]|\\["\\bfnrt\/])'
_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"))
_FORMAT_CHARS = 256


class Rules:
    """The rules of one grammar. Equal bodies become one rule."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def add(self, body: str, kind: str = "r") -> str:
        """The name of a rule with this body. Raises OverflowError when there are too many."""
        if body not in self._names:
            if len(self._names) >= MAX_RULES:
                raise OverflowError
            self._names[body] = f"{kind}{len(self._names)}"
        return self._names[body]

    def add_terminal(self, body: str) -> str:
        """The same for what the lexer reads in one go; Lark tells them apart by capitals."""
        return self.add(body, "T")

    def __str__(self) -> str:
        return "".join(f"{name}: {body}\n" for body, name in self._names.items())


def literal(text: str) -> str:
    """A Lark string that stands for this text."""
    return json.dumps(text)


def json_literal(value: Any) -> str:
    """A Lark string that stands for this value, in ASCII.

    Symptom: with "日" in a grammar, an answer fails with "token doesn't satisfy the grammar; forced bytes".
    Cause: GenAI 0.18 tokenizes the bytes that a grammar leaves no choice about as text, also when they begin
    within a character. Can go when GenAI hands them to the tokenizer as bytes.
    """
    return literal(json.dumps(value, allow_nan=False, separators=(", ", ": ")))


class SchemaRules:
    """Adds the rules of one schema. param: the field that every InvalidRequest raised here will name."""

    def __init__(self, rules: Rules, schema_text: str, param: str) -> None:
        self._rules = rules
        self._param = param
        self._values = 0
        self._open_refs: list[str] = []
        self._ref_rules: dict[str, str] = {}
        if len(schema_text.encode("utf-8", "replace")) > MAX_SCHEMA_BYTES:
            raise self._refusal(f"it is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
        try:
            root = json.loads(schema_text, parse_constant=self._no_constant)
        except (ValueError, RecursionError):
            raise self._refusal("it is not JSON") from None
        self._document = SchemaDocument(root, self._refusal)

    def any_text(self) -> str:
        """The rule of JSON that fits the schema."""
        return self._whole(lambda: self._value(self._document.root, 0))

    def arguments(self) -> str:
        """The same, for the arguments of a tool: an object; one without properties is empty, not anything."""
        return self._whole(self._arguments)

    def _arguments(self) -> str:
        schema = self._document.joined([self._document.root])
        if schema.setdefault("type", "object") not in ("object", ["object"]):
            raise self._refusal("it must be the schema of an object ('type': 'object')")
        self._refuse_words(schema)
        others = {*OBJECT, *CHOICES} - {"properties", "required"}
        if schema.get("properties") or schema.get("required") or schema.keys() & others:
            return self._value(schema, 0)
        return self._rules.add(literal("{}"))

    def _whole(self, compile_root: Callable[[], str]) -> str:
        try:
            return compile_root()
        except OverflowError:
            raise self._refusal("it is too large") from None

    def _no_constant(self, name: str) -> None:
        raise self._refusal(f"{name} is not JSON")

    def _refusal(self, why: str) -> InvalidRequest:
        return InvalidRequest(f"'{self._param}' cannot be used: {why}.", self._param)

    # Any schema

    def _value(self, schema: Any, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise self._refusal(f"it is nested deeper than {MAX_DEPTH} levels")
        self._values += 1
        if self._values > MAX_VALUES:
            raise OverflowError
        if schema is True:
            return self._anything(ANY_DEPTH)
        if not isinstance(schema, dict):
            raise self._refusal(f"{json.dumps(schema)[:60]} is not a schema that anything fits")
        self._refuse_words(schema)
        if choice := next((word for word in CHOICES if word in schema), None):
            return self._choice(choice, schema, depth)
        types = types_of(schema)
        if not types:
            return self._anything(ANY_DEPTH)
        return self._alternatives([self._typed(kind, schema, depth) for kind in types])

    def _refuse_words(self, schema: Mapping[str, Any]) -> None:
        if refused := next((word for word in REFUSED if word in schema), None):
            raise self._refusal(f"'{refused}' is not supported in schemas")

    def _alternatives(self, options: Sequence[str]) -> str:
        if len(options) == 1:
            return options[0]
        return self._rules.add(" | ".join(dict.fromkeys(options)))

    def _anything(self, depth: int) -> str:
        """Any JSON value, `depth` levels deep."""
        string = self._string_of(0, ANY_STRING)
        scalars = [string, self._number({}), self._rules.add('"true" | "false" | "null"')]
        if depth == 0:
            return self._alternatives(scalars)
        inner = self._anything(depth - 1)
        key = self._string_of(1, MAP_KEY_CHARS)
        return self._alternatives(
            [*scalars, self._map_of(inner, 0, ANY_ITEMS, key), self._list_of([], inner, 0, ANY_ITEMS)]
        )

    # $ref, const, enum, anyOf, oneOf, allOf

    def _choice(self, word: str, schema: Mapping[str, Any], depth: int) -> str:
        if word in ("const", "enum"):
            if beside := set(schema) & CONSTRAINTS - {"const", "enum", "type"}:
                raise self._refusal(f"'{min(beside)}' beside '{word}' is not supported in schemas")
            return self._constants(self._options(schema, word), schema)
        others = {name: value for name, value in schema.items() if name != word}
        alone = not set(others) & CONSTRAINTS
        if word == "$ref":
            if alone:
                return self._ref(schema["$ref"], depth)
            return self._value(self._document.joined([{"$ref": schema["$ref"]}, others]), depth + 1)
        options = self._options(schema, word)
        if word == "allOf":
            one = options[0] if alone and len(options) == 1 else self._document.joined([others, *options])
            return self._value(one, depth + 1)
        options = [option for option in options if not is_nothing(option)] or options
        if word == "oneOf":
            options = self._tagged(schema, options)
        if not alone:
            options = [self._document.joined([others, option]) for option in options]
        if word == "oneOf" and not self._document.disjoint(options):
            raise self._refusal("'oneOf' is supported only where a type or a constant tells options apart")
        return self._alternatives([self._value(option, depth + 1) for option in options])

    def _options(self, schema: Mapping[str, Any], word: str) -> list[Any]:
        options = [schema["const"]] if word == "const" else schema[word]
        if not isinstance(options, list) or not options:
            raise self._refusal(f"'{word}' must be a list with something in it")
        return options

    def _tagged(self, schema: Mapping[str, Any], options: Sequence[Any]) -> list[Any]:
        """The options, each with OpenAPI's discriminator: pydantic requires none that has a default."""
        discriminator = schema.get("discriminator")
        tag = discriminator.get("propertyName") if isinstance(discriminator, dict) else None
        if not isinstance(tag, str):
            return [*options]
        return [
            option
            if tag in required_names(self._document.resolved(option))
            else self._document.joined([option, {"required": [tag]}])
            for option in options
        ]

    def _constants(self, values: Sequence[Any], schema: Mapping[str, Any]) -> str:
        kinds = types_of(schema) if "type" in schema else list(TYPES)
        enum = schema.get("enum")
        allowed = enum if isinstance(enum, list) else values
        fitting = [value for value in values if value in allowed and any(is_a(value, kind) for kind in kinds)]
        if not fitting:
            raise self._refusal("it has constants, but none that fits")
        try:
            texts = dict.fromkeys(map(json_literal, fitting))
        except (ValueError, RecursionError):
            raise self._refusal("it has a constant that is not JSON") from None
        return self._rules.add(" | ".join(texts))

    def _ref(self, ref: Any, depth: int) -> str:
        target = self._document.target(ref)
        if ref in self._open_refs:
            raise self._refusal(f"{quote(ref)} is recursive, which is not supported")
        if ref not in self._ref_rules:
            self._open_refs.append(ref)
            self._ref_rules[ref] = self._value(target, depth + 1)
            self._open_refs.pop()
        return self._ref_rules[ref]

    # One type

    def _typed(self, kind: str, schema: Mapping[str, Any], depth: int) -> str:
        rules: Mapping[str, Callable[[], str]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "string": lambda: self._string(schema),
            "integer": lambda: self._integer(schema),
            "number": lambda: self._number(schema),
            "boolean": lambda: self._rules.add('"true" | "false"'),
            "null": lambda: self._rules.add('"null"'),
        }
        if kind not in rules:
            raise self._refusal(f"{quote(kind)} is not a type")
        return rules[kind]()

    def _string(self, schema: Mapping[str, Any]) -> str:
        least = self._count(schema, "minLength", 0, MAX_STRING)
        most = self._most(schema, "maxLength", MAX_STRING, MAX_STRING)
        pattern, form = schema.get("pattern"), schema.get("format")
        if pattern is None and form not in _FORMATS:
            return self._string_of(least, most)
        leaf: dict[str, Any] = {"type": "string", "minLength": least, "maxLength": most}
        if pattern is not None:
            if not isinstance(pattern, str):
                raise self._refusal("'pattern' must be a text")
            pattern = patterns.ascii_classes(pattern)
            if terminal := patterns.terminal(pattern, least, most):
                return self._rules.add_terminal(terminal)  # it comes with a format that says the same
            leaf["pattern"] = pattern
        if form in _FORMATS:
            leaf |= {"format": form, "maxLength": min(most, _FORMAT_CHARS)}
        return self._leaf(leaf)

    def _string_of(self, least: int, most: int) -> str:
        if least > most:
            raise self._refusal(f"no string has {least} to {most} characters")
        return self._rules.add(f'/"{_CHARACTER}{{{least},{most}}}"/')

    def _integer(self, schema: Mapping[str, Any]) -> str:
        leaf = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
        return self._leaf(leaf | self._range(schema, MAX_INTEGER))

    def _number(self, schema: Mapping[str, Any]) -> str:
        """Only a step bounds the digits after the point."""
        leaf = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER, "multipleOf": DECIMAL}
        return self._leaf(leaf | self._range(schema, 10**15))

    def _range(self, schema: Mapping[str, Any], limit: int) -> dict[str, Any]:
        """What bounds the number; bounds at the limit or beyond, as zod writes for every integer, do not."""
        given = {word: schema[word] for word in NUMBER if schema.get(word) is not None}
        for word, value in list(given.items()):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self._refusal(f"'{word}' must be a number")
            if (word in LOWER and value <= -limit) or (word in UPPER and value >= limit):
                del given[word]
            elif abs(value) > limit:
                raise self._refusal(f"'{word}' is beyond {limit}")
        return given

    def _leaf(self, leaf: Mapping[str, Any]) -> str:
        return self._rules.add(f"%json {json.dumps(leaf)}")

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        if schema.get("uniqueItems"):
            raise self._refusal("'uniqueItems' is not supported in schemas")
        firsts, rest = schema.get("prefixItems", []), schema.get("items", True)
        if isinstance(rest, list):  # how drafts before 2020-12 wrote prefixItems
            firsts, rest = rest, schema.get("additionalItems", True)
        if not isinstance(firsts, list):
            raise self._refusal("'prefixItems' must be a list of schemas")
        least = self._count(schema, "minItems", 0, MAX_ITEMS)
        if firsts and rest is True and least <= len(firsts):
            rest = False
        usual = max(least, len(firsts), DEFAULT_ITEMS)
        most = self._most(schema, "maxItems", usual, MAX_ITEMS)
        first_rules = [self._value(item, depth + 1) for item in firsts]
        rest_rule = None if rest is False or most <= len(firsts) else self._value(rest, depth + 1)
        return self._list_of(first_rules, rest_rule, least, most)

    def _list_of(self, firsts: Sequence[str], rest: str | None, least: int, most: int) -> str:
        """A list that begins with `firsts`, as many of them as it is long, and goes on with `rest`."""
        firsts = firsts[:most]
        if least > most or (rest is None and least > len(firsts)):
            raise self._refusal(f"no list has {least} to {most} of these items")
        body = ""
        if rest is not None and most > len(firsts):
            low, high = max(0, least - len(firsts)), most - len(firsts)
            body = f'(", " {rest}){{{low},{high}}}' if firsts else _repeated(rest, low, high)
        for number in range(len(firsts) - 1, -1, -1):
            comma = '", " ' if number else ""
            body = self._rules.add(f"{comma}{firsts[number]} {body}")
            body = body if number < least else f"{body}?"
        return self._rules.add(f'"[" {body} "]"')

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not isinstance(properties, dict):
            raise self._refusal("'properties' must be an object")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise self._refusal("'required' must be a list of names")
        properties = {
            **{
                name: value for name, value in properties.items() if name in required or not is_nothing(value)
            },
            **{name: others for name in required if name not in properties},
        }
        least = self._count(schema, "minProperties", 0, MAX_ITEMS)
        most = self._most(schema, "maxProperties", MAP_ITEMS, MAX_ITEMS)
        if not properties:
            return self._map(schema, least, most, depth)
        self._check_names(schema, properties)
        if least > len(set(required)) or ("maxProperties" in schema and most < len(properties)):
            raise self._refusal("'minProperties' and 'maxProperties' beside 'properties' are not supported")
        pairs = [
            (self._pair(name, self._value(value, depth + 1)), name in required)
            for name, value in properties.items()
        ]
        return self._rules.add(f'"{{" {self._in_order(pairs)} "}}"')

    def _pair(self, name: str, value: str) -> str:
        return self._rules.add(f'{json_literal(name)} ": " {value}')

    def _in_order(self, pairs: Sequence[tuple[str, bool]]) -> str:
        """The pairs, each in its place or, when it is not required, left out; a comma between any two."""
        firsts: list[str] = []
        rest = ""  # what may follow a pair that stands already
        for number in range(len(pairs) - 1, -1, -1):
            pair, required = pairs[number]
            firsts = [f"{pair} {rest}", *([] if required else firsts)]
            if number:
                rest = self._rules.add(f'", " {pair} {rest}' if required else f'(", " {pair})? {rest}')
        some = self._rules.add(" | ".join(firsts))
        return some if any(required for _, required in pairs) else f"{some}?"

    def _check_names(self, schema: Mapping[str, Any], names: Iterable[str]) -> None:
        if schema.get("patternProperties"):
            raise self._refusal("'patternProperties' beside 'properties' is not supported")
        allowed = self._document.joined([schema.get("propertyNames", True)])
        if not allowed.keys() & CONSTRAINTS - {"type"}:
            return
        texts = constant_texts(allowed)
        if texts is None or not texts >= set(map(json.dumps, names)):
            raise self._refusal("'propertyNames' beside 'properties' is supported only where it lists them")

    def _map(self, schema: Mapping[str, Any], least: int, most: int, depth: int) -> str:
        names, values = [schema.get("propertyNames", True)], schema.get("additionalProperties", True)
        by_pattern = schema.get("patternProperties")
        if by_pattern:
            if not isinstance(by_pattern, dict) or len(by_pattern) > 1:
                raise self._refusal("'patternProperties' with more than one pattern is not supported")
            ((pattern, values),) = by_pattern.items()
            names.append({"pattern": pattern})
        if is_nothing(values) or most == 0:
            if least:
                raise self._refusal("an object without properties has none")
            return self._rules.add(literal("{}"))
        if least > 1:
            raise self._refusal("'minProperties' above 1 is not supported")
        return self._map_of(
            self._value(values, depth + 1), least, most, self._key(self._document.joined(names), depth)
        )

    def _key(self, names: Mapping[str, Any], depth: int) -> str:
        words = names.keys() & CONSTRAINTS
        constants = [
            value for word in ("const", "enum") if word in names for value in self._options(names, word)
        ]
        if constants and all(isinstance(value, str) for value in constants):
            return self._value(names, depth + 1)
        if words <= {"type", *STRING} and names.get("type", "string") == "string":
            return self._string({"minLength": 1, "maxLength": MAP_KEY_CHARS, **names})
        raise self._refusal("'propertyNames' must be the schema of a text")

    def _map_of(self, value: str, least: int, most: int, key: str) -> str:
        pair = self._rules.add(f'{key} ": " {value}')
        return self._rules.add(f'"{{" {_repeated(pair, least, most)} "}}"')

    def _count(self, schema: Mapping[str, Any], word: str, default: int, limit: int) -> int:
        value = schema.get(word, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            raise self._refusal(f"'{word}' must be a whole number from 0 to {limit}")
        return value

    def _most(self, schema: Mapping[str, Any], word: str, default: int, limit: int) -> int:
        """An upper bound; one above our own limit is narrowed to it."""
        value = schema.get(word, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._refusal(f"'{word}' must be a whole number")
        return min(value, limit)


def _repeated(rule: str, least: int, most: int) -> str:
    """The rule `least` to `most` times, most at least 1, with commas between."""
    some = f'{rule} (", " {rule}){{{max(0, least - 1)},{most - 1}}}' if most > 1 else rule
    return some if least else f"({some})?"
