from __future__ import annotations

from localphi.engine.admission import BlockPool


def test_promises_are_whole_blocks_and_end_with_the_pool() -> None:
    pool = BlockPool(blocks=4, block_tokens=16)
    assert pool.tokens == 64
    assert pool.promise(1, 17)
    assert pool.promised(1) == 32
    assert not pool.promise(2, 33)
    assert pool.promised(2) == 0
    assert pool.promise(2, 32)
    assert not pool.promise(3, 1)


def test_a_promise_grows_by_what_is_missing_and_never_shrinks() -> None:
    pool = BlockPool(blocks=4, block_tokens=16)
    assert pool.promise(1, 16)
    assert pool.promise(1, 40)
    assert pool.promised(1) == 48
    assert pool.promise(1, 5)
    assert pool.promised(1) == 48
    assert not pool.promise(1, 65)
    assert pool.promised(1) == 48, "a refusal changes nothing"


def test_what_is_given_back_can_be_promised_again_once() -> None:
    pool = BlockPool(blocks=2, block_tokens=16)
    assert pool.promise(1, 32)
    pool.give_back(1)
    pool.give_back(1)
    pool.give_back(99)
    assert pool.promise(2, 32)
    assert not pool.promise(3, 1)
