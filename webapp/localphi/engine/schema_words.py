"""What a JSON schema says: what its references mean, schemas that must all fit as one, options told apart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from localphi.engine.jsontext import quote
from localphi.errors import InvalidRequest

MAX_DEPTH = 32
MAX_ONE_OF = 64  # options, each of which is held against each other

STRING = ("minLength", "maxLength", "pattern", "format")
LOWER, UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
NUMBER = (*LOWER, *UPPER, "multipleOf")
ITEMS = ("items", "prefixItems", "additionalItems")
ARRAY = (*ITEMS, "minItems", "maxItems", "uniqueItems")
OBJECT = (
    "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
    "maxProperties",
)  # fmt: skip
TYPES: Mapping[str, tuple[str, ...]] = {
    "object": OBJECT,
    "array": ARRAY,
    "string": STRING,
    "number": NUMBER,
    "integer": NUMBER,
    "boolean": (),
    "null": (),
}
CHOICES = ("$ref", "const", "enum", "anyOf", "oneOf", "allOf")
CONSTRAINTS = frozenset((*STRING, *NUMBER, *ARRAY, *OBJECT, *CHOICES, "type"))
REFUSED = (
    "not", "if", "then", "else", "contains", "dependencies", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
)  # fmt: skip


class SchemaDocument:
    """A schema, to look up what stands elsewhere in it. refusal: the error to raise for a reason."""

    def __init__(self, root: Any, refusal: Callable[[str], InvalidRequest]) -> None:
        self.root = root
        self._refusal = refusal

    def target(self, ref: Any) -> Any:
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise self._refusal("'$ref' must point into the schema itself ('#/$defs/…')")
        target = self.root
        for part in ref.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list):  # zod points to where it wrote something first, as into an anyOf
                target = dict(zip(map(str, range(len(target))), target, strict=True))
            if not isinstance(target, dict) or key not in target:
                raise self._refusal(f"{quote(ref)} points to nothing")
            target = target[key]
        return target

    def resolved(self, schema: Any) -> Any:
        """The schema, or what it refers to."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict) or "$ref" not in schema:
                return schema
            schema = self.target(schema["$ref"])
        raise self._refusal("its '$ref's go in a circle")

    def disjoint(self, options: Iterable[Any]) -> bool:
        """Whether nothing that the grammar writes for one option fits another."""
        schemas = [self.joined([option]) for option in options]
        constants = [texts for schema in schemas if (texts := constant_texts(schema)) is not None]
        if len(constants) == len(schemas):
            return len(set().union(*constants)) == sum(map(len, constants))
        pairs = itertools.combinations(schemas, 2)
        return len(schemas) <= MAX_ONE_OF and all(self._apart(one, other) for one, other in pairs)

    def _apart(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether it is plain to see that nothing the grammar writes for one fits the other."""
        if _apart_by_constants(one, other):
            return True
        kinds, other_kinds = _kinds(one), _kinds(other)
        if kinds and other_kinds and not kinds & other_kinds:
            return True
        if kinds != {"object"} or kinds != other_kinds:
            return False
        if required_names(one) - _written(other) and required_names(other) - _written(one):
            return not (one.keys() | other.keys()) & set(CHOICES)  # which bring names of their own
        return any(
            _apart_by_constants(*(self.resolved(schema["properties"][name]) for schema in (one, other)))
            for name in required_names(one) & required_names(other) & _names(one) & _names(other)
        )

    def joined(self, schemas: Iterable[Any]) -> dict[str, Any]:
        """One schema that says what all of them say."""
        parts = [part for schema in schemas for part in self._parts(schema)]
        joined: dict[str, Any] = {}
        for part in parts:
            for word, value in part.items():
                said = word in joined and word in CONSTRAINTS
                joined[word] = self._both(word, joined[word], value) if said else value
        names = _names(joined)
        if any(
            part.get("additionalProperties", True) not in (True, {}) and names - _names(part)
            for part in parts
        ):
            raise self._refusal("'additionalProperties' excludes properties of another schema that must fit")
        if sum(any(word in part for word in ITEMS) for part in parts) > 1:
            raise self._refusal("'items' in several schemas that must all fit is not supported")
        return joined

    def _both(self, word: str, one: Any, other: Any) -> Any:
        if one == other:
            return one
        if word == "required" and isinstance(one, list) and isinstance(other, list):
            return [*one, *other]
        if word == "properties" and isinstance(one, dict) and isinstance(other, dict):
            shared = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
            return {**one, **other, **shared}
        if word == "type" and (kinds := _common_types(one, other)):
            return kinds
        raise self._refusal(f"it says '{word}' in several ways that must all fit, which is not supported")

    def _parts(self, schema: Any) -> Iterator[Mapping[str, Any]]:
        """The schema and what it refers to, each without its `$ref`."""
        for _ in range(MAX_DEPTH):
            if schema is True:
                return
            if not isinstance(schema, dict):
                raise self._refusal(f"{json.dumps(schema)[:60]} is not a schema that anything fits")
            if "$ref" not in schema:
                yield schema
                return
            yield {word: value for word, value in schema.items() if word != "$ref"}
            schema = self.target(schema["$ref"])
        raise self._refusal("its '$ref's go in a circle")


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """The types a schema names, else those its words speak of; empty for a schema that says nothing."""
    named = schema.get("type")
    if isinstance(named, list) and named:
        return [str(kind) for kind in named]
    if named is not None:
        return [str(named)]
    return [kind for kind, words in TYPES.items() if kind != "integer" and any(w in schema for w in words)]


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """The types of what may fit, an integer being a number; empty for a schema that does not say."""
    constants = _constants_of(schema)
    if constants is not None and "type" not in schema:
        return {kind for kind in TYPES for value in constants if kind != "integer" and is_a(value, kind)}
    return {"number" if kind == "integer" else kind for kind in types_of(schema)}


def _common_types(one: Any, other: Any) -> list[str]:
    """The types that both values of `type` allow."""
    both = _with_integer(one) & _with_integer(other)
    return [kind for kind in TYPES if kind in both and not (kind == "integer" and "number" in both)]


def _with_integer(named: Any) -> set[str]:
    kinds = set(types_of({"type": named}))
    return kinds | {"integer"} if "number" in kinds else kinds


def required_names(schema: Any) -> set[str]:
    required = schema.get("required") if isinstance(schema, dict) else None
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _names(schema: Mapping[str, Any]) -> set[str]:
    """The properties that a schema names."""
    properties = schema.get("properties")
    return set(properties) if isinstance(properties, dict) else set()


def _written(schema: Mapping[str, Any]) -> set[str]:
    """The only names that the grammar writes for an object that has some."""
    return _names(schema) | required_names(schema)


def is_nothing(schema: Any) -> bool:
    """Whether nothing fits, as zod says of what may be left out (`not` anything)."""
    return schema is False or (isinstance(schema, dict) and schema.get("not", False) in (True, {}))


def _constants_of(schema: Any) -> list[Any] | None:
    """The constants of a schema that is a list of them, None for any other."""
    if not isinstance(schema, dict):
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return values if isinstance(values, list) else None


def constant_texts(schema: Any) -> set[str] | None:
    constants = _constants_of(schema)
    return None if constants is None else {json.dumps(value, sort_keys=True) for value in constants}


def _apart_by_constants(one: Any, other: Any) -> bool:
    constants, others = constant_texts(one), constant_texts(other)
    return constants is not None and others is not None and not constants & others


def is_a(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or value == value // 1)
    classes: Mapping[str, type] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
    }
    return kind in classes and isinstance(value, classes[kind])
