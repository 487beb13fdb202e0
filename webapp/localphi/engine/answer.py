"""One request at work in the generator backend: prefill in chunks, then a token at each step."""

from __future__ import annotations

from collections.abc import Callable

from localphi.chat import AnswerLogprob, ChatRequest, TokenLogprob
from localphi.engine.base import Event
from localphi.engine.kvcache import KvCache, Setup
from localphi.engine.sampler import Logits, Sampler, log_probabilities
from localphi.engine.transcript import Transcript

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
        transcript: Transcript,
        token_bytes: TokenBytes,
    ) -> None:
        self.ids = ids
        self.setup = setup
        self._transcript = transcript
        self._adjusts = request.sampling.adjusts
        self._sampler = Sampler(request.sampling, ids)
        self._top_logprobs = request.top_logprobs
        self._wants_logits = self._adjusts or request.top_logprobs is not None
        self._plain = request.sampling.temperature == 0 and not self._wants_logits
        self._token_bytes = token_bytes
        self._cache: KvCache | None = None
        self._cached = 0
        self._begun = False
        self._chosen: int | None = None  # by us, and not yet in the cache

    @property
    def size(self) -> int:
        """Tokens its KV cache must have room for."""
        return len(self.ids) + self._transcript.max_tokens

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
            self.cache.rewind(self._cached)
        if len(self.cache.ids) < len(self.ids):
            self.cache.read(self.ids, PREFILL_CHUNK)
            return []
        return self._decode()

    def _decode(self) -> list[Event]:
        token, logits = self._by_genai() if self.setup.grammar or self._plain else self._by_us()
        self._sampler.push(token)
        events = self._transcript.push(token, self._logprobs(token, logits))
        return events if self._transcript.end is None else [*events, *self._transcript.finish(self._cached)]

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
