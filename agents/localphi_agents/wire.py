"""The server's JSON: the bodies of requests, the chunks of answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localphi_agents.calls import CallPiece
from localphi_agents.chat import Message, Options, ToolCall, Usage
from localphi_agents.errors import AnswerFailed, UnexpectedReply

_OPTIONS = (
    "model", "max_tokens", "temperature", "top_p", "top_k", "adapter", "seed", "stop",
    "tools", "tool_choice", "parallel_tool_calls", "response_format",
)  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """One event of an answer."""

    id: str
    model: str
    text: str
    calls: tuple[CallPiece, ...]
    finish_reason: str | None
    usage: Usage | None


def write_chat(messages: Sequence[Message], options: Options) -> bytes:
    return _write({"messages": [_message(message) for message in messages]}, options)


def write_completion(prompt: str, options: Options) -> bytes:
    return _write({"prompt": prompt}, options)


def _write(asked: dict[str, Any], options: Options) -> bytes:
    fields: dict[str, Any] = {
        **options.extra,
        **asked,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name in _OPTIONS:
        if (value := getattr(options, name)) not in (None, ()):
            fields[name] = value
    return json.dumps(fields).encode()


def read_chunk(data: bytes) -> Chunk:
    """Of a chat or a text. Raises AnswerFailed for an error event, UnexpectedReply for what is no chunk."""
    try:
        chunk = json.loads(data)
        if "error" in chunk:
            raise _failure(chunk["error"])
        choice: dict[str, Any] = next(iter(chunk["choices"]), {})
        delta: dict[str, Any] = choice.get("delta") or {}
        return Chunk(
            id=str(chunk["id"]),
            model=str(chunk["model"]),
            text=str(delta.get("content") or choice.get("text") or ""),
            calls=tuple(_call_piece(call) for call in delta.get("tool_calls") or ()),
            finish_reason=choice.get("finish_reason"),
            usage=_usage(chunk.get("usage")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedReply(
            f"The server sent an event that is not a completion chunk: {data[:200]!r}"
        ) from error


def _message(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["content"] = message.content or None
        fields["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _call_piece(call: dict[str, Any]) -> CallPiece:
    function: dict[str, Any] = call.get("function") or {}
    arguments = function.get("arguments") or ""
    return CallPiece(
        index=int(call.get("index") or 0),
        id=_text(call.get("id")),
        name=_text(function.get("name")),
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
    )


def _text(value: Any) -> str | None:
    return str(value) if value else None


def _failure(error: dict[str, Any]) -> AnswerFailed:
    return AnswerFailed(str(error["message"]), error.get("type"), error.get("param"), error.get("code"))


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if usage is None:
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Usage(
        int(usage["prompt_tokens"]),
        int(usage["completion_tokens"]),
        None if cached is None else int(cached),
    )
