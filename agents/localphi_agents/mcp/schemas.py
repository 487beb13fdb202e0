"""Schemas of tools, made to fit where less of JSON Schema is understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCHEMAS = frozenset(("items", "additionalProperties"))
_LISTS = frozenset(("anyOf", "allOf", "prefixItems"))
_LEFT_OUT = frozenset(
    (
        "$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "examples",
        "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies",
        "uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties",
        "minProperties", "maxProperties", "propertyNames", "patternProperties",
    )
)  # fmt: skip
_MAX_DEPTH = 16


def loosened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its definitions put in place and without words that the localphi server would refuse.

    It allows everything that the schema allows, and more: the tool's own server checks what it gets. A
    definition that refers to itself may be anything where it does so.
    """
    loose: dict[str, Any] = _loosened(schema, schema, ())
    return loose


def _loosened(schema: Any, root: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if not isinstance(schema, Mapping):
        return schema  # true and false are schemas, too
    if len(inside) > _MAX_DEPTH:
        return {}
    if isinstance(ref := schema.get("$ref"), str):
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        target = _looked_up(ref, root) if ref not in inside else {}
        return _loosened({**target, **beside}, root, (*inside, ref))
    kept: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "properties" and isinstance(value, Mapping):
            kept[word] = {name: _loosened(each, root, inside) for name, each in value.items()}
        elif word in _SCHEMAS:
            kept[word] = _loosened(value, root, inside)
        elif word in _LISTS and isinstance(value, list):
            kept[word] = [_loosened(each, root, inside) for each in value]
        elif word == "oneOf" and isinstance(value, list):
            if "anyOf" not in schema:
                kept["anyOf"] = [_loosened(each, root, inside) for each in value]
        elif word not in _LEFT_OUT:
            kept[word] = value
    return kept


def _looked_up(ref: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the reference points to; anything, where that is not in the schema."""
    place: Any = root
    for step in ref.removeprefix("#/").split("/"):
        place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, Mapping) else None
    return place if isinstance(place, Mapping) and ref.startswith("#/") else {}
