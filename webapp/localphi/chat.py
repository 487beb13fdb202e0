"""The plain values of a chat: what is asked, what is streamed back. No I/O, no framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class ToolCall:
    """arguments: JSON text of an object, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    """tool_calls: what an assistant turn called. tool_call_id: which call a tool turn answers."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True)
class Tool:
    """parameters: JSON text of the schema of the arguments, an object's."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True)
class NamedTool:
    """The tool choice that leaves none."""

    name: str


ToolChoice = Literal["auto", "required", "none"] | NamedTool


@dataclass(frozen=True)
class JsonFormat:
    """The answer's text is JSON. schema: JSON text of the schema it fits; None is any object."""

    schema: str | None = None


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from the logits. temperature 0 means argmax; top_k 0 means no limit."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class RawPrompt:
    """A prompt that is no conversation: the answer goes on where it ends.

    In a text, control tokens stay text, as in messages. Token ids are read as they are.
    """

    content: str | tuple[int, ...]


@dataclass(frozen=True)
class ChatRequest:
    """One question to one model. max_tokens None means: up to the end of the context.

    guided: a grammar holds the answer to the tools and the format. False leaves both to the model, which then
    only finds them in its prompt; calls are still read where they can be.
    messages: the conversation, or in its place a raw prompt, which has neither tools nor a format.
    """

    messages: tuple[Message, ...] | RawPrompt
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    answer_format: JsonFormat | None = None
    guided: bool = True


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
class CallStarted:
    """The answer calls a tool. index counts the calls of one answer from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """A piece of the JSON text of the arguments of call `index`."""

    index: int
    text: str


@dataclass(frozen=True)
class Finished:
    """The last item of every answer."""

    reason: FinishReason
    usage: Usage


Item = Chunk | CallStarted | CallArguments | Finished
"""What an answer is made of, in order. Token ids travel in Chunks only, those of calls too."""
