"""The options of one request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import ChatOptions, FunctionTool, validate_tool_mode
from agent_framework.exceptions import ChatClientInvalidRequestException, ContentError
from pydantic import BaseModel

from localphi_agents.chat import Options
from localphi_agents.json_format import json_format

_OWN = frozenset(
    (
        "model", "max_tokens", "temperature", "top_p", "top_k", "adapter", "seed", "stop", "tools",
        "tool_choice", "allow_multiple_tool_calls", "response_format",
        "instructions", "conversation_id", "store", "metadata",  # Agent Framework's own, not for the server
    )
)  # fmt: skip
_FORMATS = ("text", "json_object", "json_schema")


class PhiChatOptions(ChatOptions[Any], total=False):
    """What is left out is left to the model's own defaults.

    Options of other names are sent as they are: the server refuses those it knows and cannot honour, as the
    penalties, and passes over the rest.
    adapter: name of a LoRA adapter that the model is to answer with.
    response_format: a pydantic model type, a JSON schema, or the server's own form.
    """

    top_k: int
    adapter: str


def to_options(given: Mapping[str, Any], model: str | None) -> Options:
    """Raises ChatClientInvalidRequestException for a value that cannot be sent."""
    options = {name: value for name, value in given.items() if value is not None}
    tools = tuple(_tool(tool) for tool in options.get("tools", ()))
    stop = options.get("stop", ())
    made = Options(
        model=options.get("model") or model,
        max_tokens=options.get("max_tokens"),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        top_k=options.get("top_k"),
        adapter=options.get("adapter"),
        seed=options.get("seed"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=_allowed(tools, options.get("tool_choice")),
        tool_choice=_choice(options.get("tool_choice")) if tools else None,
        parallel_tool_calls=options.get("allow_multiple_tool_calls") if tools else None,
        response_format=_format(options.get("response_format")),
        extra={name: value for name, value in options.items() if name not in _OWN},
    )
    for name in ("tools", "response_format", "extra"):
        _check_sendable(name, getattr(made, name))
    return made


def _tool(tool: Any) -> dict[str, Any]:
    if isinstance(tool, FunctionTool):
        made = tool.to_json_schema_spec()
        made["function"]["parameters"] = _untitled(made["function"]["parameters"])
        return made
    if isinstance(tool, Mapping):
        return dict(tool)
    raise ChatClientInvalidRequestException(
        f"A tool is a function or the server's own form, but {type(tool).__name__} came."
    )


def _allowed(tools: Sequence[dict[str, Any]], choice: Any) -> tuple[dict[str, Any], ...]:
    """The tools that the choice leaves; all, where it names none."""
    names = choice.get("allowed_tools") if isinstance(choice, Mapping) else None
    if names is None:
        return tuple(tools)
    return tuple(tool for tool in tools if tool.get("function", {}).get("name") in names)


def _choice(choice: Any) -> str | dict[str, Any] | None:
    try:
        mode = validate_tool_mode(choice)
    except ContentError as error:
        raise ChatClientInvalidRequestException(str(error)) from error
    if mode is None:
        return None
    if name := mode.get("required_function_name"):
        return {"type": "function", "function": {"name": name}}
    return mode["mode"]


def _format(asked: Any) -> Mapping[str, Any] | None:
    if isinstance(asked, type) and issubclass(asked, BaseModel):
        return json_format(asked)
    if isinstance(asked, Mapping) and asked.get("type") not in _FORMATS:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(asked)}}
    if asked is None or isinstance(asked, Mapping):
        return asked
    raise ChatClientInvalidRequestException(
        f"response_format is a pydantic model type or a schema, but {type(asked).__name__} came."
    )


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of the names: every token of a schema is read by the model."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {}
    for word, value in schema.items():
        if word in ("properties", "$defs") and isinstance(value, Mapping):
            kept[word] = {name: _untitled(each) for name, each in value.items()}
        elif word != "title":
            kept[word] = value if word in ("enum", "const", "default") else _untitled(value)
    return kept


def _check_sendable(name: str, value: Any) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ChatClientInvalidRequestException(f"The option '{name}' cannot be sent: {error}.") from error
