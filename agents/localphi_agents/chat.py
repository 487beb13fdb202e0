"""The plain values of a chat: what is asked, what comes back. No I/O, no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True)
class ToolCall:
    """arguments: JSON text of an object, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """tool_calls: what an assistant message called. tool_call_id: the call that a tool message answers."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True)
class Options:
    """How to answer. What is None is left to the server: its first model, and that model's own defaults.

    temperature: 0 means the likeliest token each time.
    adapter: name of a LoRA adapter that the model is to answer with.
    stop: texts that end the answer and are not part of it.
    tools: what the model may call, each `{"type": "function", "function": {…}}`.
    tool_choice: "auto", "required", "none", or `{"type": "function", "function": {"name": …}}`.
    response_format: `{"type": "json_schema", "json_schema": {…}}` or `{"type": "json_object"}`.
    extra: more fields for the request body, sent as they are; the server refuses what it cannot honour.
    """

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    adapter: str | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer. cached_tokens: how much of the prompt was not computed again, if told."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. The last has no text, but what was called, why the answer ended, what it took.

    id: the answer's id, the same in all its deltas.
    model: id of the model that answers.
    finish_reason: "stop", "length" or "tool_calls"; other servers have more.
    tool_calls: whole calls, each with an id of its own. A call that broke off is an error instead.
    """

    id: str
    model: str
    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Reply:
    """A whole answer. usage is None when the server does not count."""

    id: str
    model: str
    text: str
    finish_reason: str | None
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...] = ()
