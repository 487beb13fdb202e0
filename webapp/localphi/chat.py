"""The plain values of a chat: what is asked, what is streamed back. No I/O, no framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

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
class ServerTool:
    """A tool that the server runs itself. run: from arguments to what the model reads; raises ToolFailed."""

    tool: Tool
    run: Callable[[Mapping[str, Any]], str]


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
    """How a token is chosen from the logits. temperature 0 means argmax; top_k 0 means no limit.

    min_p: tokens less likely than this part of the most likely one are out.
    repetition_penalty: logits of tokens in prompt or answer are divided by it (multiplied below 0); 1 is off.
    presence_penalty: taken from the logits of tokens in the answer; frequency_penalty: once for each time.
    logit_bias: token ids, each once, with what is added to their logits.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()

    @property
    def adjusts(self) -> bool:
        """Whether logits are changed before a token is chosen."""
        penalties = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty)
        return penalties != (1.0, 0.0, 0.0) or bool(self.logit_bias)


@dataclass(frozen=True)
class RawPrompt:
    """A prompt that is no conversation: the answer goes on where it ends.

    In a text, control tokens stay text, as in messages. Token ids are read as they are.
    """

    content: str | tuple[int, ...]


@dataclass(frozen=True)
class ChatRequest:
    """One question to one model. max_tokens None means: up to the end of the context.

    top_logprobs: how many of the most likely tokens are told beside the log probability of each token of the
    answer; 0 tells that alone, None nothing.
    ignore_end: go on to `max_tokens`, whatever the model thinks of it; for measurements.
    guided: a grammar holds the answer to the tools and the format. False leaves both to the model, which then
    only finds them in its prompt; calls are still read where they can be.
    trace: the traceparent of W3C's trace context that the answer belongs to, if any.
    messages: the conversation, or in its place a raw prompt, which has neither tools nor a format.
    tells_progress: the answer begins with Progress, while the prompt is read.
    adapter: the model answers with this LoRA adapter, one of those that are here for it.
    begun_ids: tokens that the answer begins with, made elsewhere; it is told from the first of them. Not for
    answers that a grammar holds, and not with a seed, whose random numbers begin with the answer.
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
    top_logprobs: int | None = None
    tells_progress: bool = False
    ignore_end: bool = False
    adapter: str | None = None
    begun_ids: tuple[int, ...] = ()
    trace: str = field(default="", compare=False)


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer. completion_tokens includes the token that ended it.

    decode_s: seconds from the first token to the last, 0 where nobody measured.
    cached_tokens: tokens of the prompt that need not be computed again, None where nothing is ever kept.
    """

    prompt_tokens: int
    completion_tokens: int
    decode_s: float = field(default=0.0, compare=False)
    cached_tokens: int | None = field(default=None, compare=False)

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of decoding, None where there is nothing to tell."""
        if self.completion_tokens < 2 or self.decode_s <= 0:
            return None
        return (self.completion_tokens - 1) / self.decode_s


@dataclass(frozen=True)
class TokenLogprob:
    """A token, and the natural logarithm of the probability that the model itself gives it.

    That is softmax of the logits as they come: before penalties, bias, temperature, filters and grammar.
    data: the token's bytes, perhaps a part of a character; empty for an id that stands for nothing.
    """

    data: bytes
    logprob: float


@dataclass(frozen=True)
class AnswerLogprob(TokenLogprob):
    """top: the most likely tokens in its place, best first."""

    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer. `text` may be empty while a character is still incomplete.

    logprobs: one for each token id where they were asked for, else empty.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[AnswerLogprob, ...] = ()


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
class Progress:
    """So much of the prompt has been read. cached: tokens that were not computed again, part of processed.

    elapsed_s: seconds since the reading began.
    """

    processed: int
    total: int
    cached: int = 0
    elapsed_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Finished:
    """The last item of every answer."""

    reason: FinishReason
    usage: Usage


Item = Progress | Chunk | CallStarted | CallArguments | Finished
"""What an answer is made of, in order. Token ids travel in Chunks only, those of calls too.

Progress comes only where the request wants it, and before everything else.
"""
