"""What the routes answer with, as JSON schemas for the description of the API."""

from __future__ import annotations

from typing import get_args

from localphi.chat import FinishReason
from localphi.routes.fields import TOKEN_ID
from localphi.routes.schema import MAX_ANSWERS
from localphi.routes.survey import Schema

EVENT_STREAM = "text/event-stream"
JSON = "application/json"

_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_SECONDS_OR_NULL: Schema = {"type": ["number", "null"], "minimum": 0}


def ref(name: str) -> Schema:
    """The answer of that name in the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _all(**properties: Schema) -> Schema:
    """An object that has all of them."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _completion(kind: str, choice: Schema) -> Schema:
    completion = _all(
        id=_TEXT,
        object={"const": kind},
        created=_COUNT,
        model=_TEXT,
        choices={"type": "array", "items": choice, "minItems": 1, "maxItems": MAX_ANSWERS},
        usage=ref("Usage"),
    )
    completion["properties"]["timings"] = ref("Timings")
    return completion


_REASON: Schema = {"enum": list(get_args(FinishReason))}
_CALL = _all(id=_TEXT, type={"const": "function"}, function=_all(name=_TEXT, arguments=_TEXT))
_MESSAGE = _all(role={"const": "assistant"}, content=_TEXT_OR_NULL, refusal={"type": "null"})
_MESSAGE["properties"]["tool_calls"] = _list(_CALL)
_BYTES = _list({"type": "integer", "minimum": 0, "maximum": 255})
_PIECE = _all(id=TOKEN_ID, piece={"anyOf": [_TEXT, _BYTES]})
_ERROR = _all(message=_TEXT, type=_TEXT, param=_TEXT_OR_NULL, code=_TEXT_OR_NULL)

_OUTPUT_TEXT = _all(type={"const": "output_text"}, text=_TEXT, annotations=_list({}), logprobs=_list({}))
_ENDED: Schema = {"enum": ["completed", "incomplete"]}
_OUTPUT_MESSAGE = _all(
    type={"const": "message"},
    id=_TEXT,
    role={"const": "assistant"},
    status=_ENDED,
    content=_list(_OUTPUT_TEXT),
)
_OUTPUT_CALL = _all(
    type={"const": "function_call"}, id=_TEXT, call_id=_TEXT, name=_TEXT, arguments=_TEXT, status=_ENDED
)

ANSWERS: dict[str, Schema] = {
    "ChatCompletion": _completion(
        "chat.completion", _all(index=_COUNT, message=_MESSAGE, finish_reason=_REASON)
    ),
    "TextCompletion": _completion("text_completion", _all(index=_COUNT, text=_TEXT, finish_reason=_REASON)),
    "Response": _all(
        id=_TEXT,
        object={"const": "response"},
        created_at=_COUNT,
        completed_at=_COUNT,
        status=_ENDED,
        model=_TEXT,
        output=_list({"anyOf": [_OUTPUT_MESSAGE, _OUTPUT_CALL]}),
        store={"const": False},
        usage=_all(
            input_tokens=_COUNT,
            input_tokens_details=_all(cached_tokens=_COUNT),
            output_tokens=_COUNT,
            output_tokens_details=_all(reasoning_tokens=_COUNT),
            total_tokens=_COUNT,
        ),
    ),
    "Usage": _all(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT),
    "Timings": _all(decode_ms={"type": "number"}, tokens_per_second={"type": "number"}),
    "Model": _all(id=_TEXT, object={"const": "model"}, created=_COUNT, owned_by=_TEXT),
    "Models": _all(object={"const": "list"}, data=_list(ref("Model"))),
    "Adapters": _all(
        adapters=_list(
            _all(
                name=_TEXT,
                model=_TEXT,
                base=_TEXT,
                rank=_COUNT,
                sites=_COUNT,
                parameters=_COUNT,
                sha256=_TEXT,
                source=_TEXT,
            )
        )
    ),
    "Tokens": _all(tokens={"anyOf": [_list(TOKEN_ID), _list(_PIECE)]}),
    "Text": _all(content=_TEXT),
    "Prompt": _all(prompt=_TEXT),
    "Health": _all(status={"const": "ok"}),
    "Engine": _all(
        id=_TEXT,
        status={"enum": ["idle", "loading", "loaded", "failed"]},
        backend=_TEXT,
        memory_bytes=_COUNT_OR_NULL,
        estimated_bytes=_COUNT,
        active=_COUNT,
        waiting=_COUNT,
        idle_s=_SECONDS_OR_NULL,
        unloads_in_s=_SECONDS_OR_NULL,
        restarts=_COUNT,
        error=_TEXT_OR_NULL,
    ),
    "Engines": _all(memory_budget_bytes=_COUNT, engines=_list(ref("Engine"))),
    "Catalogue": _all(
        models=_list(
            _all(
                id=_TEXT,
                name=_TEXT,
                about=_TEXT,
                license=_TEXT,
                context_length=_COUNT,
                sources=_list(
                    _all(
                        id=_TEXT,
                        device=_TEXT,
                        repo=_TEXT,
                        about_bytes=_COUNT_OR_NULL,
                        note=_TEXT,
                        here={"type": "boolean"},
                        for_this_server={"type": "boolean"},
                    )
                ),
            )
        )
    ),
    "Pull": _all(
        id=_TEXT,
        model=_TEXT,
        status={"enum": ["asking", "fetching", "done", "failed", "stopped"]},
        done_bytes=_COUNT,
        total_bytes=_COUNT,
        bytes_per_s=_COUNT,
        left_s=_SECONDS_OR_NULL,
        note=_TEXT,
        error=_TEXT_OR_NULL,
    ),
    "Pulls": _all(pulls=_list(ref("Pull"))),
    "ServerTools": _all(tools=_list(_all(name=_TEXT, description=_TEXT, parameters={"type": "object"}))),
    "ToolResult": _all(result=_TEXT),
    "Readiness": {  # the other two are for those who have a key, where keys are needed
        **_all(status={"const": "ready"}, model=_TEXT, worker={"enum": ["idle", "loading", "loaded"]}),
        "required": ["status"],
    },
    "Error": _all(error=_ERROR),
}
EVENTS: Schema = {  # of no type: OpenAPI 3.1 does not say whether the stream or an event is meant
    "description": "Server-sent events: a `data:` line of JSON for each piece, then `data: [DONE]`. "
    "A failure on the way is an event with an error, without [DONE] behind it. Comments keep the line alive.",
}
TYPED_EVENTS: Schema = {
    "description": "Server-sent events, each an `event:` line with its type and a `data:` line of JSON, from "
    "`response.created` to `response.completed`, `response.incomplete` or `response.failed`. "
    "Comments keep the line alive.",
}
