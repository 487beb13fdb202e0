"""The backend without weights: it says the last message, or the prompt, again, word by word. For tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from localphi.chat import (
    AnswerLogprob,
    ChatRequest,
    Chunk,
    Finished,
    Message,
    RawPrompt,
    TokenLogprob,
    Usage,
)
from localphi.engine.base import Admitted, Decoded, Encode, Encoded, Event, Question, Reply
from localphi.engine.stops import StopMatcher
from localphi.engine.texts import check_ids
from localphi.errors import ContextLengthExceeded, UnsupportedParameter

_CONTEXT_LENGTH = 2048
_VOCABULARY = 2048


@dataclass
class _Echo:
    request_id: int
    words: deque[str]
    stops: StopMatcher
    prompt_tokens: int
    max_tokens: int
    top_logprobs: int | None
    done: int = 0


class EchoBackend:
    """One word is one token; its id is its length. Ids are read as words of so many x.

    An answer that is resumed begins anew: it cannot become another one.
    """

    def __init__(self, context_length: int = _CONTEXT_LENGTH) -> None:
        self._context_length = context_length
        self._queue: deque[_Echo] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    @property
    def active(self) -> int:
        return len(self._queue)

    def submit(self, request_id: int, request: ChatRequest, resume: Sequence[int] = ()) -> Admitted:
        if request.tools:
            raise UnsupportedParameter("tools", "The echo backend has no model that could call them.")
        if request.answer_format:
            raise UnsupportedParameter("response_format", "The echo backend says what it was told.")
        if request.adapter:
            raise UnsupportedParameter("adapter", "The echo backend has no model that could take one.")
        prompt_tokens, said = _read(request.messages)
        room = self._context_length - prompt_tokens
        if room < 1:
            raise ContextLengthExceeded(prompt_tokens, self._context_length)
        words = deque(said.split(" "))
        max_tokens = min(request.max_tokens or room, room)
        stops = StopMatcher(request.stop)
        self._queue.append(_Echo(request_id, words, stops, prompt_tokens, max_tokens, request.top_logprobs))
        return Admitted(prompt_tokens)

    def step(self) -> Sequence[tuple[int, Event]]:
        echo = self._queue.popleft()
        if echo.done == echo.max_tokens:
            return self._finish(echo, "length")
        if not echo.words:
            return self._finish(echo, "stop")
        word = echo.words.popleft()
        echo.done += 1
        said = word + (" " if echo.words else "")
        logprobs = _certain(said, echo.top_logprobs)
        chunk = (echo.request_id, Chunk(echo.stops.push(said), (len(word),), logprobs))
        if echo.stops.matched:
            return [chunk, *self._finish(echo, "stop")]
        self._queue.append(echo)
        return [chunk]

    def _finish(self, echo: _Echo, reason: str) -> list[tuple[int, Event]]:
        usage = Usage(echo.prompt_tokens, echo.done)
        rest = echo.stops.flush()
        events: list[tuple[int, Event]] = [(echo.request_id, Chunk(rest, ()))] if rest else []
        return [*events, (echo.request_id, Finished("length" if reason == "length" else "stop", usage))]

    def cancel(self, request_id: int) -> None:
        self._queue = deque(echo for echo in self._queue if echo.request_id != request_id)

    def reply(self, question: Question) -> Reply:
        if not isinstance(question, Encode):
            return Decoded(_words("tokens", question.ids))
        words = question.text.split()
        pieces = tuple(word.encode("utf-8", "replace") for word in words)
        return Encoded(tuple(map(len, words)), pieces if question.with_pieces else ())


def _read(messages: tuple[Message, ...] | RawPrompt) -> tuple[int, str]:
    """How many words there are, and what is said again."""
    if not isinstance(messages, RawPrompt):
        return sum(len(message.content.split()) for message in messages), messages[-1].content
    content = messages.content
    text = content if isinstance(content, str) else _words("prompt", content)
    return len(text.split()), text


def _words(param: str, ids: Sequence[int]) -> str:
    check_ids(param, ids, _VOCABULARY)
    return " ".join("x" * length for length in ids)


def _certain(word: str, top_logprobs: int | None) -> tuple[AnswerLogprob, ...]:
    """An echo has no choice, so its word has the probability 1."""
    if top_logprobs is None:
        return ()
    data = word.encode("utf-8", "replace")
    return (AnswerLogprob(data, 0.0, (TokenLogprob(data, 0.0),)[:top_logprobs]),)
