"""The body of /v1/responses as a JSON schema, as `forms.py` has those of the completions."""

from __future__ import annotations

from localphi.chat import ROLES
from localphi.routes import responses_body as body
from localphi.routes import schema, tools
from localphi.routes.forms import (
    CALL_ID,
    FUNCTION,
    LOGIT_BIAS,
    MODEL,
    NAME,
    STOP,
    BodyForm,
    object_of,
    or_null,
)
from localphi.routes.survey import Schema

_TEXT: Schema = {"type": "string"}
_PART: Schema = {
    "anyOf": [
        object_of(("type", "text"), type={"enum": list(body.TEXT_PARTS)}, text=_TEXT),
        object_of(("type", "refusal"), type={"const": "refusal"}, refusal=_TEXT),
    ]
}
_CONTENT: Schema = {"anyOf": [_TEXT, {"type": "array", "items": _PART}]}
_MESSAGE = object_of(
    ("role", "content"),
    type={"enum": ["message", None]},
    role={"enum": [*sorted(set(ROLES) - {"tool"}), "developer"]},
    content=_CONTENT,
)
_CALL = object_of(
    ("type", "call_id", "name", "arguments"),
    type={"const": "function_call"},
    call_id=CALL_ID,
    name=NAME,
    arguments={"type": "string", "description": "The JSON text of an object."},
)
_RESULT = object_of(
    ("type", "call_id", "output"),
    type={"const": "function_call_output"},
    call_id={**CALL_ID, "description": "A call of the items before."},
    output=_CONTENT,
)
_INPUT: Schema = {
    "anyOf": [
        _TEXT,
        {
            "type": "array",
            "items": {"anyOf": [_MESSAGE, _CALL, _RESULT]},
            "minItems": 1,
            "maxItems": schema.MAX_MESSAGES,
        },
    ]
}
_TOOL = object_of(
    ("type", "name"),
    type=FUNCTION,
    name=NAME,
    description={"type": ["string", "null"]},
    strict={"type": ["boolean", "null"]},
    parameters={"type": ["object", "null"], "description": "A JSON schema."},
)
_FORMAT: Schema = {
    "anyOf": [
        object_of(("type",), type={"enum": ["text", "json_object"]}),
        object_of(("type", "schema"), type={"const": "json_schema"}, schema={"type": "object"}),
        {"type": "null"},
    ]
}

RESPONSES = BodyForm(
    lambda fields, manifest: body.responses_body(fields).to_request(manifest),
    {"input": "What is localphi?"},
    {
        "input": _INPUT,
        "instructions": {"type": ["string", "null"], "description": "A system turn before the input."},
        "model": MODEL,
        "store": {
            "type": ["boolean", "null"],
            "description": "Nothing is stored, whatever it says; the answer says so.",
        },
        "metadata": {
            "type": ["object", "null"],
            "additionalProperties": _TEXT,
            "maxProperties": body.MAX_METADATA,
            "description": "Sent back as it came.",
        },
        "include": {"type": ["array", "null"], "items": {"enum": list(body.INCLUDABLE)}},
        "stop": STOP,
        "logit_bias": LOGIT_BIAS,
        "text": or_null(object_of((), format=_FORMAT)),
        "tools": {"type": ["array", "null"], "items": _TOOL, "maxItems": tools.MAX_TOOLS},
        "tool_choice": {
            "anyOf": [
                {"enum": ["auto", "required", "none", None]},
                object_of(("type", "name"), type=FUNCTION, name=NAME),
            ]
        },
    },
    body.UNSUPPORTED,
)
