"""The plain values of a chat: what is asked, what comes back. No I/O, no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True)
class Options:
    """How to answer. What is None is left to the server: its first model, and that model's own defaults.

    temperature: 0 means the likeliest token each time.
    stop: texts that end the answer and are not part of it.
    extra: more fields for the request body, sent as they are; the server refuses what it cannot honour.
    """

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Delta:
    """A piece of an answer. The last one has no text, but why the answer ended and what it took.

    id: the answer's id, the same in all its deltas.
    model: id of the model that answers.
    finish_reason: "stop" or "length"; other servers have more.
    """

    id: str
    model: str
    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class Reply:
    """A whole answer. usage is None when the server does not count."""

    id: str
    model: str
    text: str
    finish_reason: str | None
    usage: Usage | None
