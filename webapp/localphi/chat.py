"""The plain values of a chat: what is asked, what is streamed back. No I/O, no framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from the logits. temperature 0 means argmax; top_k 0 means no limit."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class ChatRequest:
    """One question to one model. max_tokens None means: up to the end of the context."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer. completion_tokens includes the token that ended it.

    decode_s: seconds from the first token to the last, 0 where nobody measured.
    """

    prompt_tokens: int
    completion_tokens: int
    decode_s: float = field(default=0.0, compare=False)

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of decoding, None where there is nothing to tell."""
        if self.completion_tokens < 2 or self.decode_s <= 0:
            return None
        return (self.completion_tokens - 1) / self.decode_s


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer. `text` may be empty while a character is still incomplete."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Finished:
    """The last item of every answer."""

    reason: FinishReason
    usage: Usage
