"""Answers of the demo model that tools and formats hold: greedy, by the server's engine.

Each case has a body of the API, the ids of the prompt and of the answer, and what the answer comes to.
"""

from __future__ import annotations

from typing import Any

from localphi.chat import CallArguments, CallStarted, Chunk, Finished
from localphi.config import disable_telemetry
from localphi.models.manifest import load_manifest
from localphi.routes.schema import chat_body
from serving import DEMO

_WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 40},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city"],
}
_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_MAIL = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "format": "email", "maxLength": 40},
        "body": {"type": "string", "maxLength": 60},
        "urgent": {"type": "boolean"},
    },
    "required": ["to", "body", "urgent"],
}
_PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "kind": {"enum": ["café", "日本 😀", 'q"\\', 1.5, None]},
    },
    "required": ["name", "age", "kind"],
}
_PLAN = {
    "type": "object",
    "properties": {
        "start": {"type": "string", "format": "date"},
        "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1, "maxItems": 3},
        "code": {"type": "string", "pattern": "^[A-F]{2}-\\d{3}$"},
    },
    "required": ["start", "steps", "code"],
    "$defs": {
        "step": {
            "oneOf": [
                {"type": "object", "properties": {"km": {"type": "number"}}, "required": ["km"]},
                {"type": "string", "maxLength": 10},
            ]
        }
    },
}


def _tool(name: str, description: str, parameters: Any) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


_TOOLS = [
    _tool("get_forecast", "Weather forecast for a city.", _WEATHER),
    _tool("send_mail", "Send an e-mail.", _MAIL),
    _tool("now", "The time of day.", {"type": "object", "properties": {}}),
    _tool("weather", "Weather.", _CITY),
]
_CALLS = {"a": ("now", "{}"), "b": ("get_forecast", '{"city": "Bern"}')}
_CALLED = {
    "role": "assistant",
    "tool_calls": [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, (name, arguments) in _CALLS.items()
    ],
}
_RESULTS = [
    {"role": "tool", "tool_call_id": "b", "content": '{"celsius": 21}'},
    {"role": "tool", "tool_call_id": "a", "content": "12:30"},
]


def _ask(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def _format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


BODIES: dict[str, dict[str, Any]] = {
    "a tool where it fits": _ask("What will the weather be in Oslo for 3 days?", tools=_TOOLS[:3]),
    "no tool where none fits": _ask("What is a KV cache?", tools=_TOOLS[:3]),
    "two calls": _ask("Weather in Rome and in Lima?", tools=_TOOLS[:3]),
    "required": _ask("hello", tools=_TOOLS[:3], tool_choice="required"),
    "one call at a time": _ask(
        "What is the weather in Lima and in Rome?",
        tools=_TOOLS[:3],
        tool_choice="required",
        parallel_tool_calls=False,
    ),
    "a named tool": _ask(
        "Tell ann@example.org that I am late, it is urgent",
        tools=_TOOLS[:3],
        tool_choice={"type": "function", "function": {"name": "send_mail"}},
    ),
    "a small tool": _ask("What is the weather in Rome?", tools=_TOOLS[3:], tool_choice="required"),
    "none": _ask("What will the weather be in Oslo?", tools=_TOOLS[:3], tool_choice="none"),
    "results of tools": {
        "messages": [{"role": "user", "content": "Time, and weather in Bern?"}, _CALLED, *_RESULTS],
        "tools": _TOOLS[:3],
    },
    "any object": _ask("Give me the city Oslo as JSON.", response_format={"type": "json_object"}),
    "a schema": _ask("Ann Lee is 41 and likes jazz and tea.", response_format=_format(_PERSON)),
    "refs, formats, patterns": _ask("We start on 2026-11-26: 3 km.", response_format=_format(_PLAN)),
    "a value that is no object": _ask(
        "Pick a colour.", response_format=_format({"type": "array", "items": {"enum": ["red", "green"]}})
    ),
    "a schema or a tool": _ask("Weather in Oslo?", tools=_TOOLS[:3], response_format=_format(_PERSON)),
}
MAX_TOKENS = 160


def guided_vectors() -> dict[str, Any]:
    disable_telemetry()
    from localphi.engine.generator import GeneratorBackend

    backend = GeneratorBackend(DEMO, load_manifest(DEMO), threads=2, max_active=1, kv_budget_bytes=2**30)
    cases = [_answer(backend, name, body) for name, body in BODIES.items()]
    return {"model": "localphi-demo", "cases": cases}


def _answer(backend: Any, name: str, body: dict[str, Any]) -> dict[str, Any]:
    body = {**body, "temperature": 0, "max_tokens": MAX_TOKENS}
    request = chat_body(body).to_request(load_manifest(DEMO))
    admitted = backend.submit(0, request)
    answer: dict[str, Any] = {"text": "", "calls": [], "ids": []}
    while backend.busy:
        for _, event in backend.step():
            match event:
                case Chunk():
                    answer["text"] += event.text
                    answer["ids"] += event.token_ids
                case CallStarted():
                    answer["calls"].append({"name": event.name, "arguments": ""})
                case CallArguments():
                    answer["calls"][event.index]["arguments"] += event.text
                case Finished():
                    answer["finish_reason"] = event.reason
                case _:
                    raise AssertionError(event)
    return {"name": name, "body": body, "prompt_tokens": admitted.prompt_tokens, **answer}
