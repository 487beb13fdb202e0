"""Which KV cache a request gets, with generators that only write down what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from localphi.chat import Sampling
from localphi.engine.kvcache import MAX_KEPT, SPARE, KvCache, KvCaches, Setup

PLAIN = Setup()
GUIDED = Setup('start: "a"')


class _Generator:
    """sequence: the tokens it has, as GenAI's has them. appended: how they came."""

    def __init__(self, setup: Setup, size: int) -> None:
        self.size = size
        self.sequence: list[int] = []
        self.appended: list[int] = []

    def append_tokens(self, ids: Sequence[int]) -> None:
        assert len(ids) > 0
        self.sequence += ids
        self.appended.append(len(ids))
        assert len(self.sequence) <= self.size, "GenAI would raise"

    def rewind_to(self, length: int) -> None:
        assert length <= len(self.sequence), "GenAI would raise"
        assert length < len(self.sequence) or length == 0, "GenAI would do nothing, and keep its grammar"
        del self.sequence[length:]


def _caches(budget: int = 10_000, context_length: int = 1000, switch: int | None = None) -> KvCaches:
    return KvCaches(budget, context_length, _Generator, switch)


def _lend(caches: KvCaches, ids: Sequence[int], size: int, setup: Setup = PLAIN) -> tuple[KvCache, int]:
    lent = caches.lend(ids, size, setup)
    assert lent is not None
    return lent


def _use(caches: KvCaches, ids: Sequence[int], size: int = 100, setup: Setup = PLAIN) -> int:
    """A whole answer without an answer: how many tokens were there already."""
    cache, shared = _lend(caches, ids, size, setup)
    cache.rewind(shared)
    cache.append(ids[shared:])
    assert cache._generator.sequence == cache.ids == list(ids)
    caches.give_back(cache)
    return shared


def test_the_next_turn_computes_only_what_is_new() -> None:
    caches = _caches()
    assert _use(caches, range(10)) == 0
    assert _use(caches, range(30)) == 9, "the last token is computed again, or GenAI would not rewind"
    assert _use(caches, [*range(20), 99]) == 20


def test_the_last_token_of_a_prompt_is_computed_again_for_its_logits() -> None:
    caches = _caches()
    _use(caches, range(10))
    assert _use(caches, range(10)) == 9


def test_the_longest_common_beginning_wins() -> None:
    caches = _caches()
    _use(caches, [1, 2, 3, 4])
    _use(caches, [1, 9, 9, 9])
    assert _use(caches, [1, 2, 3, 4, 5]) == 3
    assert _use(caches, [1, 9, 9, 9, 9]) == 3


def test_a_cache_is_not_taken_from_a_conversation_that_loses_more_than_the_new_one_gains() -> None:
    caches = _caches()
    _use(caches, range(50))
    assert _use(caches, [*range(20), *range(900, 910)]) == 0
    assert _use(caches, range(60)) == 49
    assert _use(caches, [*range(40), *range(900, 910)]) == 40


def test_a_question_asked_again_takes_its_cache_however_long_the_answer_was() -> None:
    caches = _caches()
    _use(caches, range(50))
    assert _use(caches, range(10)) == 9


def test_a_cache_that_is_at_work_is_not_shared() -> None:
    caches = _caches()
    _use(caches, range(10))
    _lend(caches, range(11), 100)
    assert _lend(caches, range(11), 100)[1] == 0


def test_another_setup_gets_another_cache() -> None:
    caches = _caches()
    _use(caches, range(10), setup=GUIDED)
    assert _use(caches, range(11)) == 0
    assert _use(caches, range(11), setup=GUIDED) == 9


def test_random_numbers_that_began_with_a_seed_are_not_kept() -> None:
    caches = _caches()
    seeded = Setup(GUIDED.grammar, Sampling(1.0, seed=1))
    _use(caches, range(10), setup=seeded)
    assert _use(caches, range(11), setup=seeded) == 0
    unseeded = Setup(GUIDED.grammar, Sampling(1.0))
    _use(caches, range(10), setup=unseeded)
    assert _use(caches, range(11), setup=unseeded) == 9


def test_a_cache_has_room_for_turns_to_come_where_there_is_room() -> None:
    caches = _caches(budget=3000, context_length=1500)
    assert [_lend(caches, [1], size)[0].size for size in (100, 600, 476)] == [1024, 1500, 476]
    assert caches.lend([1], 1, PLAIN) is None


def test_a_cache_too_small_for_the_request_is_not_taken() -> None:
    caches = _caches(context_length=5000)
    _use(caches, range(10), size=16)
    assert _use(caches, range(11), size=16 + SPARE) == 9
    assert _use(caches, range(12), size=1025) == 0


def test_kept_caches_make_way_the_least_recently_used_first() -> None:
    caches = _caches(budget=96)
    for first in (0, 100, 200):
        _use(caches, range(first, first + 10), size=32)
    assert _use(caches, range(11), size=32) == 9  # the first is now the latest
    _use(caches, range(300, 310), size=32)  # takes the place of the second
    assert _use(caches, range(100, 111), size=32) == 0


def test_lent_and_kept_caches_stay_within_the_budget() -> None:
    caches = _caches(budget=100)
    _use(caches, range(10), size=64)
    cache, _ = _lend(caches, range(500, 510), 64)
    assert _lend(caches, range(11), 36)[1] == 0, "the kept one had to go"
    assert caches.lend(range(11), 1, PLAIN) is None
    caches.discard(cache)
    assert caches.lend(range(11), 64, PLAIN) is not None


def test_only_so_many_are_kept() -> None:
    caches = _caches(budget=10**6)
    for first in range(MAX_KEPT + 1):
        _use(caches, [first * 100, first * 100 + 1])
    assert _use(caches, [0, 1, 2]) == 0
    assert _use(caches, [MAX_KEPT * 100, MAX_KEPT * 100 + 1, 7]) == 1


def test_a_cache_that_was_never_used_is_not_kept() -> None:
    caches = _caches()
    cache, _ = _lend(caches, range(10), 100)
    caches.give_back(cache)
    assert _lend(caches, range(10), 100)[0] is not cache


class TestTwoRopeFactors:
    """switch 100: sequences of more tokens are computed with the second factor from their first token on."""

    def _read(self, caches: KvCaches, ids: Sequence[int]) -> tuple[KvCache, int]:
        cache, shared = _lend(caches, ids, 200)
        cache.rewind(shared)
        while len(cache.ids) < len(ids):
            cache.read(ids, 20)
        return cache, shared

    def test_a_short_prompt_is_read_in_chunks(self) -> None:
        cache, _ = self._read(_caches(switch=100), range(50))
        assert cache._generator.appended == [20, 20, 10]

    def test_a_long_prompt_passes_the_switch_in_one_go(self) -> None:
        cache, _ = self._read(_caches(switch=100), range(150))
        assert cache._generator.appended == [101, 20, 20, 9]

    def test_a_sequence_that_grows_beyond_the_switch_is_computed_again(self) -> None:
        cache, _ = self._read(_caches(switch=100), range(100))
        cache.append([7])
        cache.append([8])
        assert cache._generator.appended == [20] * 5 + [101, 1]
        assert cache.ids == cache._generator.sequence == [*range(100), 7, 8]

    def test_a_short_prompt_gets_no_cache_of_a_long_one_nor_the_reverse(self) -> None:
        caches = _caches(switch=100)
        caches.give_back(self._read(caches, range(120))[0])
        short, shared = self._read(caches, range(90))
        assert shared == 0
        caches.give_back(short)
        assert self._read(caches, range(130))[1] == 119
        assert self._read(caches, range(95))[1] == 89

    def test_the_rest_of_a_long_prompt_passes_the_switch_in_one_go(self) -> None:
        caches = _caches(switch=100)
        caches.give_back(self._read(caches, range(120))[0])
        cache, shared = self._read(caches, [*range(70), *range(500, 550)])
        assert shared == 70
        assert cache._generator.appended[-2:] == [31, 19]


def test_without_a_switch_nothing_is_computed_twice() -> None:
    cache = KvCache(PLAIN, 10_000, _Generator)
    cache.append(range(5000))
    cache.append([1])
    assert cache._generator.appended == [5000, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 999, 1000])
def test_a_cache_is_never_larger_than_the_context(size: int) -> None:
    assert size <= _lend(_caches(), [1], size)[0].size <= 1000
