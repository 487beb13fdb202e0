"""One request at work: prefill in chunks, then a token at each step, and what it adds to the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from localphi.chat import (
    AnswerLogprob,
    ChatRequest,
    Chunk,
    Finished,
    FinishReason,
    Progress,
    TokenLogprob,
    Usage,
)
from localphi.engine.base import Event
from localphi.engine.calls import AnswerReader, Piece
from localphi.engine.kvcache import KvCache, Setup
from localphi.engine.sampler import Logits, Sampler, log_probabilities
from localphi.engine.stops import StopMatcher

PREFILL_CHUNK = 256

TokenBytes = Callable[[int], bytes]


class RunningAnswer:
    """Waits until start() gives it a KV cache; then step() until an event is Finished.

    The token is chosen here, so that one kind of cache serves every request. Two cases are GenAI's: where the
    most likely token is all that is wanted, because it is a little faster; and where a grammar holds the
    answer, because only GenAI knows what it allows. Penalties and bias then change the logits before.
    """

    def __init__(
        self,
        ids: list[int],
        *,
        request: ChatRequest,
        setup: Setup,
        reader: AnswerReader,
        end_ids: Collection[int],
        token_bytes: TokenBytes,
        max_tokens: int,
    ) -> None:
        self.ids = ids
        self.setup = setup
        self._end_ids = end_ids
        self._reader = reader
        self._stops = StopMatcher(request.stop)
        self._adjusts = request.sampling.adjusts
        self._sampler = Sampler(request.sampling, ids)
        self._top_logprobs = request.top_logprobs
        self._wants_logits = self._adjusts or request.top_logprobs is not None
        self._plain = request.sampling.temperature == 0 and not self._wants_logits
        self._token_bytes = token_bytes
        self._max_tokens = max_tokens
        self._cache: KvCache | None = None
        self._cached = 0
        self._begun = False
        self._chosen: int | None = None  # by us, and not yet in the cache
        self._produced = 0
        self._tells_progress = request.tells_progress
        self._begun_s = self._first_s = self._last_s = 0.0

    @property
    def size(self) -> int:
        """Tokens its KV cache must have room for."""
        return len(self.ids) + self._max_tokens

    @property
    def cache(self) -> KvCache:
        """The one it was started with."""
        assert self._cache is not None, "the answer has not been started"
        return self._cache

    def start(self, cache: KvCache, shared: int) -> None:
        """shared: how many tokens of the prompt the cache holds already."""
        self._cache = cache
        self._cached = shared

    def step(self) -> list[Event]:
        if not self._begun:
            self._begun = True
            self._begun_s = time.perf_counter()
            self.cache.rewind(self._cached)
        if len(self.cache.ids) < len(self.ids):
            self.cache.read(self.ids, PREFILL_CHUNK)
            return [self._progress()] if self._tells_progress else []
        return self._decode()

    def _progress(self) -> Progress:
        elapsed_s = time.perf_counter() - self._begun_s
        return Progress(len(self.cache.ids), len(self.ids), self._cached, elapsed_s)

    def _decode(self) -> list[Event]:
        token, logits = self._by_genai() if self.setup.grammar or self._plain else self._by_us()
        self._sampler.push(token)
        self._produced += 1
        self._last_s = time.perf_counter()
        self._first_s = self._first_s or self._last_s
        if token in self._end_ids:
            return self._finish("stop")
        events = self._events(self._reader.push(token), (token,), self._logprobs(token, logits))
        if self._stops.matched or self._reader.over:
            return [*events, *self._finish("stop")]
        if self._produced == self._max_tokens:
            return [*events, *self._finish("length")]
        return events

    def _by_us(self) -> tuple[int, Logits | None]:
        """The next token, and the model's logits for it."""
        if self._chosen is not None:
            self.cache.append([self._chosen])
        logits = self.cache.logits()
        self._chosen = self._sampler.choose(self._sampler.adjusted(logits))
        return self._chosen, logits

    def _by_genai(self) -> tuple[int, Logits | None]:
        """The next token; the logits only where somebody looks at them."""
        if not self._wants_logits:
            return self.cache.generate(), None
        logits = self.cache.logits()
        return self.cache.generate(self._sampler.adjusted(logits) if self._adjusts else None), logits

    def _logprobs(self, token: int, logits: Logits | None) -> tuple[AnswerLogprob, ...]:
        if self._top_logprobs is None or logits is None:
            return ()
        own, best = log_probabilities(logits, token, self._top_logprobs)
        top = tuple(TokenLogprob(self._token_bytes(other), value) for other, value in best)
        return (AnswerLogprob(self._token_bytes(token), own, top),)

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

    def _finish(self, reason: FinishReason) -> list[Event]:
        last = [] if self._stops.matched else self._events(self._reader.finish())
        last.append(Chunk(self._stops.flush(), ()))
        if reason == "stop" and self._reader.calls:
            reason = "tool_calls"
        usage = Usage(len(self.ids), self._produced, self._last_s - self._first_s, self._cached)
        return [*(event for event in last if event != Chunk("", ())), Finished(reason, usage)]
