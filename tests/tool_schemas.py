"""Schemas of tools: of every form that is supported, and ones that are refused."""

from __future__ import annotations

from typing import Any

_PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 9}, "zip": {"type": "integer", "minimum": 0}},
    "required": ["city"],
}
_STEP = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "walk"}, "km": {"type": "number"}},
            "required": ["kind"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "stop"}, "at": {"$ref": "#/$defs/place"}},
            "required": ["kind", "at"],
        },
    ]
}
SHORT = {"type": "string", "maxLength": 8}
EMAIL_OF_ZOD = (
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
)


def _tagged(kind: str) -> dict[str, Any]:
    """A model of pydantic whose tag has a default, and so is not required."""
    return {
        "type": "object",
        "properties": {"kind": {"const": kind, "default": kind}, "age": {"type": "null"}},
    }


def one(value: Any, **rest: Any) -> dict[str, Any]:
    """The schema of an object whose only property, x, is wanted."""
    return {"type": "object", "properties": {"x": value}, "required": ["x"], **rest}


SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {"type": "object", "properties": {}},
    "no words": {},
    "string": one(SHORT),
    "string without bound": one({"type": "string"}),
    "string with least": one({"type": "string", "minLength": 3, "maxLength": 5}),
    "pattern": one({"type": "string", "pattern": "^[a-f]{2,6}-\\d+$", "maxLength": 12}),
    "pattern of digits in a class": one({"type": "string", "pattern": r"^[^\D0]\d[\w/-]?$"}),
    "date": one({"type": "string", "format": "date"}),
    "date-time": one({"type": "string", "format": "date-time"}),
    "time": one({"type": "string", "format": "time"}),
    "uuid": one({"type": "string", "format": "uuid"}),
    "email": one({"type": "string", "format": "email"}),
    "ipv4": one({"type": "string", "format": "ipv4"}),
    "uri": one({"type": "string", "format": "uri"}),
    "unknown format": one({"type": "string", "format": "password", "maxLength": 5}),
    "integer": one({"type": "integer"}),
    "integer in a range": one({"type": "integer", "minimum": -5, "exclusiveMaximum": 12}),
    "even": one({"type": "integer", "multipleOf": 2, "minimum": 0, "maximum": 1000}),
    "number": one({"type": "number"}),
    "number in a range": one({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    "half": one({"type": "number", "multipleOf": 0.5}),
    "boolean": one({"type": "boolean"}),
    "null": one({"type": "null"}),
    "several types": one({"type": ["string", "integer", "null"], "maxLength": 4}),
    "enum": one({"type": "string", "enum": ["a", "ab", 'q"\\', "日本 😀", "/"]}),
    "mixed enum": one({"enum": [1, 12, "1", None, True, 1.5, [1, {"a": "b"}]]}),
    "const": one({"const": {"b": 1, "a": [2]}}),
    "anyOf": one({"anyOf": [SHORT, {"type": "integer"}, {"type": "null"}]}),
    "oneOf by type": one({"oneOf": [SHORT, {"type": "number"}]}),
    "list": one({"type": "array", "items": SHORT}),
    "list with bounds": one({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}),
    "list of one": one({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 1}),
    "empty list": one({"type": "array", "maxItems": 0}),
    "tuple": one({"type": "array", "prefixItems": [SHORT, {"type": "integer"}], "minItems": 2}),
    "tuple and more": one(
        {"type": "array", "prefixItems": [SHORT], "items": {"type": "null"}, "minItems": 3, "maxItems": 5}
    ),
    "list of lists": one(
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            "maxItems": 2,
        }
    ),
    "map": one({"type": "object", "additionalProperties": {"type": "integer"}}),
    "map with bounds": one(
        {"type": "object", "additionalProperties": True, "minProperties": 1, "maxProperties": 2}
    ),
    "anything": one({}),
    "any object": one({"type": "object"}),
    "all optional": {
        "type": "object",
        "properties": {"a": SHORT, "b": {"type": "integer"}, "c": {"type": "null"}},
    },
    "some optional": {
        "type": "object",
        "properties": {"a": SHORT, "b": {"type": "null"}, "c": SHORT, "d": SHORT},
        "required": ["b", "d"],
    },
    "required without a schema": {"type": "object", "properties": {"a": SHORT}, "required": ["z"]},
    "closed": {"type": "object", "properties": {"a": SHORT}, "additionalProperties": False},
    "hard names": {
        "type": "object",
        "properties": {'q"\\/': SHORT, "日本": SHORT, "": SHORT, "a b": SHORT},
        "required": ['q"\\/', "日本", ""],
    },
    "refs": {
        "type": "object",
        "properties": {
            "from": {"$ref": "#/$defs/place"},
            "to": {"$ref": "#/$defs/place"},
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "maxItems": 3},
        },
        "required": ["from"],
        "$defs": {"place": _PLACE, "step": _STEP},
    },
    "ref at the top": {"$ref": "#/$defs/place", "$defs": {"place": _PLACE}},
    "one allOf": one(
        {"allOf": [{"$ref": "#/definitions/place"}], "description": "d"}, definitions={"place": _PLACE}
    ),
    "nested": one(one(one(one({"type": "boolean"})))),
    "integer of zod": one({"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1}),
    "integer of Rust": one({"type": "integer", "format": "uint64", "minimum": 0, "maximum": 2**64 - 1}),
    "Decimal of pydantic": one(
        {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}]}
    ),
    "text that looks like a Decimal": one({"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}),
    "email of zod": one({"type": "string", "format": "email", "pattern": EMAIL_OF_ZOD}),
    "password": one({"type": "string", "pattern": r"^(?=.*[0-9])(?!.*[^a-z0-9/])[^x/]+", "maxLength": 9}),
    "record of zod": one(
        {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": SHORT}
    ),
    "record of an enum": one(
        {
            "type": "object",
            "propertyNames": {"type": "string", "enum": ["a", "b"]},
            "additionalProperties": {"type": "null"},
            "required": ["a", "b"],
        }
    ),
    "map of an enum": one(
        {
            "type": "object",
            "propertyNames": {"$ref": "#/$defs/key"},
            "additionalProperties": {"type": "null"},
        },
        **{"$defs": {"key": {"type": "string", "enum": ["a", "b"]}}},
    ),
    "map by a pattern": one(
        {"type": "object", "patternProperties": {"^[ab]{2}$": SHORT}, "additionalProperties": False}
    ),
    "union with a tag": one(
        {"oneOf": [_tagged("cat"), _tagged("dog")], "discriminator": {"propertyName": "kind"}}
    ),
    "union of Rust": one({"oneOf": [one(SHORT, additionalProperties=False), {"const": "Nothing"}]}),
    "union by what is required": one(
        {
            "oneOf": [
                {"type": "object", "properties": {"a": SHORT}, "required": ["a"]},
                {"type": "object", "properties": {"b": SHORT}, "required": ["b"]},
            ],
        }
    ),
    "optional within nullable": one({"anyOf": [{"anyOf": [{"not": {}}, SHORT]}, {"type": "null"}]}),
    "property that nothing fits": {"type": "object", "properties": {"a": SHORT, "b": {"not": {}}}},
    "ref to what was written first": {
        "type": "object",
        "properties": {
            "a b": {"anyOf": [SHORT, {"type": "null"}]},
            "c": {"$ref": "#/properties/a%20b/anyOf/0"},
        },
        "required": ["c"],
    },
    "any arguments": {"type": "object", "additionalProperties": {}},
    "type beside anyOf": one({"type": ["string", "number"], "anyOf": [SHORT, {"type": "integer"}]}),
    "one of two": {
        "type": "object",
        "properties": {"a": SHORT, "b": {"type": "null"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "additionalProperties": False,
    },
    "options at the top": {"anyOf": [one(SHORT), {"$ref": "#/$defs/place"}], "$defs": {"place": _PLACE}},
    "several allOf": one(
        {
            "type": "object",
            "allOf": [
                {"$ref": "#/$defs/place"},
                {"properties": {"at": {"type": "null"}, "zip": {"maximum": 9}}, "required": ["at", "zip"]},
            ],
        },
        **{"$defs": {"place": _PLACE}},
    ),
    "words beside ref": one({"$ref": "#/$defs/a", "maxLength": 2}, **{"$defs": {"a": {"type": "string"}}}),
    "annotations": one({"type": "boolean", "title": "t", "default": True, "x-note": 1, "deprecated": True}),
}


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


def _doubling(levels: int) -> dict[str, Any]:
    """Each definition refers to the next one twice, with a word beside, so that none is read only once."""
    refs = {number: {"$ref": f"#/$defs/{number}", "maxProperties": 2} for number in range(levels + 1)}
    definitions: dict[str, Any] = {
        str(number): {"type": "object", "properties": {"a": refs[number + 1], "b": refs[number + 1]}}
        for number in range(levels)
    }
    return one(refs[0], **{"$defs": {**definitions, str(levels): {"type": "object"}}})


WRONG: dict[str, Any] = {
    "not a schema": 3,
    "a list": {"type": "array"},
    "unknown type": one({"type": "text"}),
    "false": one(False),
    "not at the top": {"type": "object", "not": {}},
    "not": one({"not": {}}),
    "if": one({"if": {}, "then": {}}),
    "uniqueItems": one({"type": "array", "uniqueItems": True}),
    "patternProperties beside properties": one({}, patternProperties={"a": {}}),
    "several patternProperties": one({"patternProperties": {"a": {}, "b": {}}}),
    "names that are no texts": one({"type": "object", "propertyNames": {"type": "integer"}}),
    "names that are not listed": one({}, propertyNames={"enum": ["y"]}),
    "allOf that says a word twice": one({"allOf": [{"minLength": 1}, {"minLength": 2}]}),
    "allOf that excludes another": one(
        {"allOf": [one(True, additionalProperties=False), {"properties": {"y": True}}]}
    ),
    "allOf of lists": one({"allOf": [{"items": {}}, {"prefixItems": [{}]}]}),
    "allOf of itself": one({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {}]}}}),
    "allOf of uniqueItems": one({"allOf": [{"uniqueItems": True}, {"uniqueItems": False}]}),
    "refs that double": _doubling(30),
    "overlapping oneOf": one({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
    "oneOf told apart by nothing required": one({"oneOf": [one(True), {"properties": {"y": True}}]}),
    "oneOf with a hidden name": one(
        {
            "oneOf": [
                {"$ref": "#/$defs/a", "properties": {"b": SHORT}},
                {"type": "object", "properties": {"b": SHORT}, "required": ["b"]},
            ]
        },
        **{"$defs": {"a": {"type": "object", "properties": {"a": SHORT}, "required": ["a", "b"]}}},
    ),
    "oneOf of broken objects": one({"oneOf": [{"properties": ["x"], "required": ["x"]}] * 2}),
    "anyOf beside another type": one({"type": "string", "anyOf": [{"type": "integer"}]}),
    "anyOf of no objects at the top": {"anyOf": [{"type": "array"}]},
    "const beside a bound": one({"const": 1, "minimum": 0}),
    "nothing": one({"anyOf": [{"not": {}}, False]}),
    "empty anyOf": one({"anyOf": []}),
    "empty enum": one({"enum": []}),
    "enum of another type": one({"type": "string", "enum": [1]}),
    "recursive": one({"$ref": "#"}),
    "recursive definition": one({"$ref": "#/$defs/n"}, **{"$defs": {"n": one({"$ref": "#/$defs/n"})}}),
    "ref in a circle": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "ref to nothing": one({"$ref": "#/$defs/n"}),
    "ref that is no text": one({"$ref": {}}),
    "remote ref": one({"$ref": "https://example.org/s.json"}),
    "impossible string": one({"type": "string", "minLength": 3, "maxLength": 2}),
    "impossible integer": one({"type": "integer", "minimum": 3, "maximum": 2}),
    "impossible list": one({"type": "array", "minItems": 3, "maxItems": 2}),
    "huge list": one({"type": "array", "minItems": 10**6}),
    "huge number": one({"type": "integer", "minimum": 10**300}),
    "bound that is no number": one({"type": "string", "maxLength": "3"}),
    "broken pattern": one({"type": "string", "pattern": "("}),
    "pattern that looks ahead": one({"type": "string", "pattern": "(?=a)b"}),
    "pattern that is no text": one({"type": "string", "pattern": 3}),
    "properties that are none": {"type": "object", "properties": 3},
    "required that is none": {"type": "object", "required": [3]},
    "too large": one({"enum": ["x" * 70_000]}),
    "too deep": _deep(60),
}
