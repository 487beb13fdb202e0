"""KV caches: ORT GenAI's generators, lent to answers and kept when these are over.

The next request whose prompt begins as a kept cache does takes it, rewinds it to where both part, and
computes only the rest. What GenAI fixes when it makes a generator is its `Setup`; caches are for one setup.

Reused keys and values were computed in chunks of other lengths than a fresh run's, so logits differ in their
last bits (5e-6 on the demo), as with any prefix cache; only a tie that close could fall the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from localphi.chat import Sampling
from localphi.engine.sampler import Logits

MAX_KEPT = 8
SPARE = 512  # tokens for the next turn, a question and an answer
_NO_GRAMMAR = Sampling()
_Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Setup:
    """grammar: Lark text, or None. sampling: how GenAI chooses; without a grammar, always the most likely.

    endless: GenAI never chooses a token that would end the answer. adapter: the key of the one at work.
    """

    grammar: str | None = None
    sampling: Sampling = _NO_GRAMMAR
    endless: bool = False
    adapter: str | None = None

    @property
    def reusable(self) -> bool:
        """False where GenAI's random numbers were begun with a seed: they cannot be begun again."""
        return self.sampling.temperature == 0 or self.sampling.seed is None


MakeGenerator = Callable[[Setup, int], Any]
"""A generator of this setup with room for so many tokens."""


class KvCache:
    """A generator, and the ids of the tokens whose keys and values it holds.

    size: tokens it has room for. GenAI allocates all of them with the generator, at the first append.
    switch: the longest sequence that a model with two rope factors (LongRoPE) computes with the first.
    A method that raises leaves the cache unusable.
    """

    def __init__(self, setup: Setup, size: int, make: MakeGenerator, switch: int | None = None) -> None:
        self.setup = setup
        self.size = size
        self.ids: list[int] = []
        self.long = False
        self._make = make
        self._switch = switch
        self._generator: Any = None
        self._generated: int | None = None  # GenAI computes a token it has chosen when the next one is wanted

    def read(self, prompt: Sequence[int], most: int) -> None:
        """Append the next tokens of `prompt`, of which the cache holds the beginning; at most that many.

        More only to get a prompt beyond the switch in one go, for the second factor holds for all of it.
        """
        end = len(self.ids) + most
        if self._switch is not None and len(prompt) > self._switch:
            end = max(end, self._switch + 1)
        self.append(prompt[len(self.ids) : end])

    def append(self, ids: Sequence[int]) -> None:
        """Compute the keys and values of the next tokens, not none; their last one gives the logits."""
        if self._generator is None:
            self._generator = self._make(self.setup, self.size)
        ids = list(ids)
        length = len(self.ids) + len(ids)
        if self._switch is not None and length > self._switch and not self.long:
            ids = self.ids + ids  # what was computed with the other factor is worth nothing now
            self.rewind(0)
            self.long = True
        self._generator.append_tokens(ids)
        self.ids += ids

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens. A grammar begins anew."""
        if self._generator is not None:
            self._generator.rewind_to(length)
        del self.ids[length:]
        self._generated = None

    def logits(self) -> Logits:
        """Of the next token, as the model gives them; a copy. (V)"""
        self._count_generated()
        logits: Logits = self._generator.get_logits().reshape(-1)  # (1, 1, V)
        return logits

    def read_all(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Append tokens, and give the logits behind each: (tokens, V); fewer where the graph prunes them."""
        self.append(ids)
        logits = self._generator.get_output("logits")  # (1, tokens, V)
        rows: npt.NDArray[np.float32] = logits.reshape(-1, logits.shape[-1])[-len(ids) :]
        return rows.astype(np.float32, copy=False)

    def room_for_guesses(self) -> int:
        """Tokens that can be appended and taken back."""
        end = self.size
        if self._switch is not None and len(self.ids) <= self._switch:
            end = min(end, self._switch)  # all would be computed anew there
        return end - len(self.ids)

    def generate(self, logits: Logits | None = None) -> int:
        """The next token, by the setup's grammar and sampling, from `logits` where they are given."""
        self._count_generated()
        if self._switch is not None and len(self.ids) == self._switch + 1:
            self.long = True  # GenAI does what append() does, here and only here
        if logits is not None:
            self._generator.set_logits(logits)
        self._generator.generate_next_token()
        self._generated = int(self._generator.get_next_tokens()[0])
        return self._generated

    def _count_generated(self) -> None:
        if self._generated is not None:
            self.ids.append(self._generated)
            self._generated = None


class KvCaches:
    """All caches of a model. Those lent and those kept have room for at most `budget` tokens together.

    context_length: tokens of the longest sequence. switch: as for KvCache.
    """

    def __init__(
        self, budget: int, context_length: int, make: MakeGenerator, switch: int | None = None
    ) -> None:
        self._budget = budget
        self._context_length = context_length
        self._make = make
        self._switch = switch
        self._lent: list[KvCache] = []
        self._kept: list[tuple[KvCache, _Ids]] = []  # with what can be shared; the least recently used first

    def lend(self, prompt: Sequence[int], size: int, setup: Setup) -> tuple[KvCache, int] | None:
        """A cache with room for `size` tokens, and how many of the prompt's it shares: rewind it to those.

        At least one token of the prompt is left to compute. None when there is no room now. Give it back.
        """
        kept, shared = self._best(prompt, size, setup)
        cache = kept or self._new(size, setup)
        if cache is None:
            return None
        self._lent.append(cache)
        return cache, shared

    def give_back(self, cache: KvCache) -> None:
        """Keep it for a later request, if one could use it.

        All but its last token can be shared: asked to rewind to its own length, GenAI does nothing, and a
        grammar would stay where it is.
        """
        self._lent.remove(cache)
        held = np.asarray(cache.ids[:-1], np.int32)
        if len(held) and cache.setup.reusable:
            self._kept.append((cache, held))
            del self._kept[:-MAX_KEPT]

    def discard(self, cache: KvCache) -> None:
        """Free its memory: it broke."""
        self._lent.remove(cache)

    def forget(self) -> None:
        """Free the memory of those that are kept."""
        self._kept.clear()

    def _best(self, prompt: Sequence[int], size: int, setup: Setup) -> tuple[KvCache | None, int]:
        """Take out the kept cache that shares most.

        None that would lose more tokens than it saves, for it may be another conversation with the same
        system prompt; but one that holds all of the prompt is this one, asked again.
        """
        long = self._switch is not None and len(prompt) > self._switch
        wanted = np.asarray(prompt[:-1], np.int32)
        best: tuple[KvCache, _Ids] | None = None
        most = 0
        for entry in self._kept:
            cache, held = entry
            if cache.setup == setup and cache.size >= size and cache.long == long:
                shared = _common(wanted, held)
                worth_it = shared == len(wanted) or shared >= len(held) - shared
                if shared > most and worth_it:
                    best, most = entry, shared
        if best is None:
            return None, 0
        self._kept = [entry for entry in self._kept if entry is not best]
        return best[0], most

    def _new(self, size: int, setup: Setup) -> KvCache | None:
        """A new cache, with room to spare for the turns that follow if there is any; None without room."""
        lent = sum(cache.size for cache in self._lent)
        roomy = min(1 << (size + SPARE - 1).bit_length(), self._context_length)
        for room in (roomy, size):
            if lent + room <= self._budget:
                while lent + room + sum(cache.size for cache, _ in self._kept) > self._budget:
                    del self._kept[0]
                return KvCache(setup, room, self._make, self._switch)
        return None


def _common(left: _Ids, right: _Ids) -> int:
    """Length of the longest common beginning."""
    shorter = min(len(left), len(right))
    different = left[:shorter] != right[:shorter]
    return int(different.argmax()) if different.any() else shorter
