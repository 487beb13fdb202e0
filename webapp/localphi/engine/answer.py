"""One request at work in the generator backend: prefill in chunks, then a token at each step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import zip_longest

from localphi.chat import AnswerLogprob, ChatRequest, Progress, TokenLogprob
from localphi.engine.base import Event
from localphi.engine.drafts import INDEXED_TOKENS, Drafts
from localphi.engine.intake import Prepared, Unfinished
from localphi.engine.kvcache import KvCache, Setup
from localphi.engine.sampler import Logits, Sampler, log_probabilities
from localphi.engine.transcript import Transcript
from localphi.errors import EngineFailed

PREFILL_CHUNK = 256
MOST_GUESSED = 7  # tokens in one step
_NEVER = -1e30  # a logit: finite, for -inf divided by a temperature is no number

TokenBytes = Callable[[int], bytes]


class RunningAnswer:
    """Waits until start() gives it a KV cache, of the given size; then step() until an event is Finished.

    The token is chosen here, so that one kind of cache serves every request. Two cases are GenAI's: where the
    most likely token is all that is wanted, because it is a little faster; and where a grammar holds the
    answer, because only GenAI knows what it allows. Penalties and bias then change the logits before.

    guesses: whether the model gives the logits behind every token that it reads. Then several tokens are
    guessed and read in one step, and those are kept that are chosen, by whatever chooses; without a grammar.

    resume: tokens that the answer has already, from another worker. They are read like the prompt; but a
    grammar must be led through them, each forced upon GenAI, whose random numbers so go on where they were.
    said: tokens before those, which have been told already. There are none where a grammar holds the answer.
    """

    def __init__(
        self,
        ids: list[int],
        *,
        request: ChatRequest,
        setup: Setup,
        transcript: Transcript,
        token_bytes: TokenBytes,
        resume: Sequence[int] = (),
        said: Sequence[int] = (),
        guesses: bool = False,
    ) -> None:
        self.setup = setup
        self._forced = deque(resume if setup.grammar else ())
        self._said = tuple(said)
        self._resumed = () if setup.grammar else tuple(resume)
        self.ids = [*ids, *self._said, *self._resumed]
        self.size = len(ids) + transcript.max_tokens
        self._transcript = transcript
        self._adjusts = request.sampling.adjusts
        self._sampler = Sampler(request.sampling, ids)
        self._top_logprobs = request.top_logprobs
        self._wants_logits = self._adjusts or request.top_logprobs is not None
        self._guesses = guesses and setup.grammar is None and not request.ignore_end
        self._drafts: Drafts | None = None
        self._plain = request.sampling.temperature == 0 and not self._wants_logits and not self._guesses
        self._token_bytes = token_bytes
        self._cache: KvCache | None = None
        self._cached = 0
        self._begun = False
        self._tells_progress = request.tells_progress
        self._begun_s = 0.0
        self._chosen: int | None = None  # by us, and not yet in the cache
        self._told: list[int] = []  # of the tokens that came after `ids`

    @property
    def cache(self) -> KvCache:
        """The one it was started with."""
        assert self._cache is not None, "the answer has not been started"
        return self._cache

    @property
    def tokens(self) -> int:
        """Of prompt and answer, so far."""
        return len(self.ids) + len(self._told)

    def unfinished(self, prepared: Prepared) -> Unfinished:
        """What another backend needs to go on with it. prepared: its request. Not for one with a grammar."""
        said, resume = ([*self._said], [*self._resumed])
        if self._begun:
            said, resume = [*said, *resume, *self._told], []
        return Unfinished(prepared, self._transcript, said, resume)

    def start(self, cache: KvCache, shared: int) -> None:
        """shared: how many tokens of the prompt the cache holds already."""
        self._cache = cache
        self._cached = shared

    def step(self) -> list[Event]:
        if not self._begun:
            self._begun = True
            self._begun_s = time.perf_counter()
            self.cache.rewind(self._cached)
            if self._said or self._resumed:
                return self._tell_again()
        if len(self.cache.ids) < len(self.ids):
            self.cache.read(self.ids, PREFILL_CHUNK)
            return [self._progress()] if self._tells_progress else []
        return self._decode()

    def _progress(self) -> Progress:
        elapsed_s = time.perf_counter() - self._begun_s
        return Progress(len(self.cache.ids), len(self.ids), self._cached, elapsed_s)

    def _tell_again(self) -> list[Event]:
        for token in self._said + self._resumed:
            self._sampler.skip()
            self._sampler.push(token)
        return self._finished(self._transcript.push_again(self._resumed))

    def _decode(self) -> list[Event]:
        if self._forced:
            return self._finished(self._transcript.push_again([self._force(self._forced.popleft())]))
        if self._guesses:
            return self._finished(self._by_us_from_guesses())
        token, logits = self._by_genai() if self.setup.grammar or self._plain else self._by_us()
        return self._finished(self._tell(token, logits))

    def _tell(self, token: int, logits: Logits | None) -> list[Event]:
        self._sampler.push(token)
        self._told.append(token)
        return self._transcript.push(token, self._logprobs(token, logits))

    def _finished(self, events: list[Event]) -> list[Event]:
        """These, and the last ones where the answer is over."""
        return events if self._transcript.end is None else [*events, *self._transcript.finish(self._cached)]

    def _by_us(self) -> tuple[int, Logits | None]:
        """The next token, and the model's logits for it."""
        if self._chosen is not None:
            self.cache.append([self._chosen])
        logits = self.cache.logits()
        self._chosen = self._sampler.choose(self._sampler.adjusted(logits))
        return self._chosen, logits

    def _by_us_from_guesses(self) -> list[Event]:
        """The next token, and those behind it for as long as the guesses were right."""
        if self._chosen is None:
            token, logits = self._by_us()
            events = self._tell(token, logits)
            self._drafts = Drafts(self.ids[-INDEXED_TOKENS:])
            self._drafts.push([token])
            return events
        assert self._drafts is not None
        before = len(self.cache.ids) + 1
        left = self._transcript.max_tokens - self._transcript.produced
        guessed = self._drafts.guess(min(MOST_GUESSED, left - 1, self.cache.room_for_guesses() - 1))
        rows = self.cache.read_all([self._chosen, *guessed])
        events, tokens = [], []
        for logits, guess in zip_longest(rows, guessed):
            self._chosen = self._sampler.choose(self._sampler.adjusted(logits))
            tokens.append(self._chosen)
            events += self._tell(self._chosen, logits)
            if self._transcript.end is not None or self._chosen != guess:
                break
        kept = before + len(tokens) - 1
        if kept < len(self.cache.ids):
            self.cache.rewind(kept)
        self._drafts.push(tokens)
        return events

    def _by_genai(self) -> tuple[int, Logits | None]:
        """The next token; the logits only where somebody looks at them."""
        if not self._wants_logits:
            return self.cache.generate(), None
        logits = self.cache.logits()
        return self.cache.generate(self._sampler.adjusted(logits) if self._adjusts else None), logits

    def _force(self, token: int) -> int:
        logits = self.cache.logits()
        logits[:] = _NEVER
        logits[token] = 0
        if self.cache.generate(logits) != token:
            raise EngineFailed("the grammar of the answer does not allow what it has already")
        self._sampler.push(token)
        return token

    def _logprobs(self, token: int, logits: Logits | None) -> tuple[AnswerLogprob, ...]:
        if self._top_logprobs is None or logits is None:
            return ()
        own, best = log_probabilities(logits, token, self._top_logprobs)
        top = tuple(TokenLogprob(self._token_bytes(other), value) for other, value in best)
        return (AnswerLogprob(self._token_bytes(token), own, top),)
