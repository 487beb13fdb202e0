"""What the tokens of one answer make of it, and where it ends; the same for every backend with a model."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence

from localphi.chat import AnswerLogprob, ChatRequest, Chunk, Finished, FinishReason, Usage
from localphi.engine.base import Event
from localphi.engine.calls import AnswerReader, Piece
from localphi.engine.stops import StopMatcher


class Transcript:
    """push() each token until `end` says why the answer is over; then finish() it, once.

    end_ids: tokens that end an answer, never shown. max_tokens: of the answer, the one that ends it included.
    """

    def __init__(
        self,
        request: ChatRequest,
        *,
        prompt_tokens: int,
        reader: AnswerReader,
        end_ids: Collection[int],
        max_tokens: int,
    ) -> None:
        self.end: FinishReason | None = None
        self.produced = 0
        self.max_tokens = max_tokens
        self._prompt_tokens = prompt_tokens
        self._reader = reader
        self._stops = StopMatcher(request.stop)
        self._end_ids = end_ids
        self._first_s = self._last_s = 0.0
        self._measures = True

    def push(self, token: int, logprobs: tuple[AnswerLogprob, ...] = ()) -> list[Event]:
        """What this token adds to the answer."""
        self._count()
        if token in self._end_ids:
            self.end = "stop"
            return []
        events = self._events(self._reader.push(token), (token,), logprobs)
        if self._stops.matched or self._reader.over:
            self.end = "stop"
        elif self.produced == self.max_tokens:
            self.end = "length"
        return events

    def push_again(self, tokens: Iterable[int]) -> list[Event]:
        """What tokens add that the answer has from an earlier worker; they may be all of it."""
        self._measures = False
        events: list[Event] = []
        for token in tokens:
            if self.end is None:
                events += self.push(token)
        return events

    def go_on(self, max_tokens: int) -> None:
        """There is room after all: for so many tokens in all."""
        self.max_tokens = max_tokens
        self.end = None

    def push_end(self) -> None:
        """The model has chosen a token that ends the answer, and which one was not told."""
        self._count()
        self.end = "stop"

    def cut(self) -> None:
        """There is no room for another token."""
        self.end = "length"

    def finish(self, cached: int) -> list[Event]:
        """The last events. cached: tokens of the prompt that were not computed for this answer."""
        assert self.end is not None, "the answer goes on"
        last = [] if self._stops.matched else self._events(self._reader.finish())
        last.append(Chunk(self._stops.flush(), ()))
        reason: FinishReason = "tool_calls" if self.end == "stop" and self._reader.calls else self.end
        decode_s = self._last_s - self._first_s if self._measures else 0.0
        usage = Usage(self._prompt_tokens, self.produced, decode_s, min(cached, self._prompt_tokens))
        return [*(event for event in last if event != Chunk("", ())), Finished(reason, usage)]

    def _count(self) -> None:
        self.produced += 1
        self._last_s = time.perf_counter()
        self._first_s = self._first_s or self._last_s

    def _events(
        self,
        pieces: Sequence[Piece],
        token_ids: tuple[int, ...] = (),
        logprobs: tuple[AnswerLogprob, ...] = (),
    ) -> list[Event]:
        """The text of the pieces, stop strings taken out, and the calls behind it."""
        text = self._stops.push("".join(piece for piece in pieces if isinstance(piece, str)))
        calls: list[Event] = [piece for piece in pieces if not isinstance(piece, str)]
        if calls:  # no text comes after a call, so nothing held back can become a stop string
            text += self._stops.flush()
        return [Chunk(text, token_ids, logprobs), *calls]
