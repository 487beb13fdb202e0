"""The bodies of the API as JSON schemas.

The parsers note what they insist on themselves. Here stand the forms of fields that are more than one value;
their limits are the parsers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localphi.chat import ROLES
from localphi.models.manifest import Manifest
from localphi.routes import schema, tools
from localphi.routes.fields import TOKEN_ID, Body
from localphi.routes.survey import Schema, Survey

REFUSED = "x-localphi-refused"
"""Marks the fields that are known, but not honoured."""


@dataclass(frozen=True)
class BodyForm:
    """A body, told by its parser. sample: a value for each field that must be there.

    shapes: the schemas of those fields whose form the parser does not note itself.
    """

    parse: Callable[[Body, Manifest], object]
    sample: Mapping[str, Any]
    shapes: Mapping[str, Schema]
    refusals: Sequence[schema.Refusal] = ()

    def forms(self, manifest: Manifest) -> dict[str, Schema | None]:
        """Every field that the parser reads, with its form for this model; None where nobody knows it."""
        survey = Survey(self.sample)
        self.parse(survey, manifest)
        found = {name: self.shapes.get(name, form) for name, form in survey.forms.items()}
        return found | {name: _refused(unused, advice) for name, unused, advice in self.refusals}

    def schema(self, manifest: Manifest) -> Schema:
        """The body as a JSON schema. Fields that are not in it are passed over."""
        forms = {name: form or {} for name, form in self.forms(manifest).items()}
        return {
            "type": "object",
            "required": sorted(self.sample),
            "properties": forms,
            "examples": [dict(self.sample)],
        }


def _refused(unused: Sequence[Any], advice: str) -> Schema:
    return {"enum": list(unused), "description": f"Not supported. {advice}", REFUSED: True}


def object_of(required: Sequence[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def or_null(form: Schema) -> Schema:
    return {"anyOf": [form, {"type": "null"}]}


MODEL: Schema = {
    "type": ["string", "null"],
    "maxLength": schema.MAX_MODEL_CHARS,
    "description": "Id of a model, or id:adapter; left out: the one that is served.",
}
_STOP_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": schema.MAX_STOP_CHARS}
STOP = or_null({"anyOf": [_STOP_TEXT, {"type": "array", "items": _STOP_TEXT, "maxItems": schema.MAX_STOPS}]})
_STREAM_OPTIONS = or_null(object_of((), include_usage={"type": ["boolean", "null"], "default": False}))

BEST_OF: Schema = {
    "enum": [None, *range(1, schema.MAX_ANSWERS + 1)],
    "description": "Only the value of `n`: every answer is sent.",
}
LOGIT_BIAS: Schema = {
    "type": ["object", "null"],
    "maxProperties": schema.MAX_BIASED_TOKENS,
    "propertyNames": {"pattern": "^(0|[1-9][0-9]*)$", "maxLength": schema.MAX_TOKEN_DIGITS},
    "additionalProperties": {"type": "number", "minimum": -schema.MAX_BIAS, "maximum": schema.MAX_BIAS},
    "description": "By token id: what is added to its logits.",
}

NAME: Schema = {"type": "string", "pattern": f"^{tools.NAME.pattern}$"}
CALL_ID: Schema = {"type": "string", "minLength": 1, "maxLength": tools.MAX_ID_CHARS}
FUNCTION: Schema = {"const": "function"}
_TOOL = object_of(
    ("type", "function"),
    type=FUNCTION,
    function=object_of(
        ("name",),
        name=NAME,
        description={"type": ["string", "null"]},
        strict={"type": ["boolean", "null"]},
        parameters={"type": ["object", "null"], "description": "A JSON schema."},
    ),
)
_CALL = object_of(
    ("id", "type", "function"),
    id=CALL_ID,
    type=FUNCTION,
    function=object_of(
        ("name", "arguments"),
        name=NAME,
        arguments={"type": "string", "description": "The JSON text of an object."},
    ),
)
_CALLS: Schema = {"type": ["array", "null"], "items": _CALL, "maxItems": tools.MAX_CALLS_OF_A_TURN}
_PARTS: Schema = {
    "type": "array",
    "items": object_of(("type", "text"), type={"const": "text"}, text={"type": "string"}),
}
_CONTENT: Schema = {"anyOf": [{"type": "string"}, _PARTS]}
_MESSAGE: Schema = {
    "anyOf": [
        object_of(
            ("role", "content"),
            role={"enum": [*sorted(set(ROLES) - {"assistant", "tool"}), "developer"]},
            content=_CONTENT,
        ),
        object_of(("role",), role={"const": "assistant"}, content=or_null(_CONTENT), tool_calls=_CALLS),
        object_of(
            ("role", "content", "tool_call_id"),
            role={"const": "tool"},
            content=_CONTENT,
            tool_call_id={**CALL_ID, "description": "A call of the assistant turn before."},
        ),
    ]
}
_TOOL_CHOICE: Schema = {
    "anyOf": [
        {"enum": ["auto", "required", "none", None]},
        object_of(("type", "function"), type=FUNCTION, function=object_of(("name",), name=NAME)),
    ]
}
_ANSWER_FORMAT = or_null(
    {
        "anyOf": [
            object_of(("type",), type={"enum": ["text", "json_object"]}),
            object_of(
                ("type", "json_schema"),
                type={"const": "json_schema"},
                json_schema=object_of(("schema",), schema={"type": "object"}),
            ),
        ]
    }
)
_MESSAGES: Schema = {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": schema.MAX_MESSAGES}
_TOOLS: Schema = {"type": ["array", "null"], "items": _TOOL, "maxItems": tools.MAX_TOOLS}

_PROMPT_TEXT: Schema = {"type": "string", "minLength": 1}
_PROMPT_IDS: Schema = {"type": "array", "items": TOKEN_ID, "minItems": 1}
_ONE_PROMPT: Schema = {
    "type": "array",
    "items": {"anyOf": [_PROMPT_TEXT, _PROMPT_IDS]},
    "minItems": 1,
    "maxItems": 1,
}
_PROMPT: Schema = {
    "anyOf": [_PROMPT_TEXT, _PROMPT_IDS, _ONE_PROMPT],
    "description": "Text, in which control tokens stay text; or token ids, which are read as they are.",
}

CHAT = BodyForm(
    lambda fields, manifest: schema.chat_body(fields).to_request(manifest),
    {"messages": [{"role": "user", "content": "What is localphi?"}]},
    {
        "messages": _MESSAGES,
        "model": MODEL,
        "stop": STOP,
        "logit_bias": LOGIT_BIAS,
        "best_of": BEST_OF,
        "stream_options": _STREAM_OPTIONS,
        "tools": _TOOLS,
        "tool_choice": _TOOL_CHOICE,
        "response_format": _ANSWER_FORMAT,
    },
    schema.UNSUPPORTED,
)
TEXT = BodyForm(
    lambda fields, manifest: schema.text_body(fields).to_request(manifest),
    {"prompt": "localphi is"},
    {
        "prompt": _PROMPT,
        "model": MODEL,
        "stop": STOP,
        "logit_bias": LOGIT_BIAS,
        "best_of": BEST_OF,
        "stream_options": _STREAM_OPTIONS,
    },
    schema.TEXT_UNSUPPORTED,
)
