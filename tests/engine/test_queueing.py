"""Turns, places and restarts, with a clock of the test's own."""

from __future__ import annotations

import pytest

from localphi.engine.queueing import MAX_RETRY_AFTER_S, FairQueue, Places
from localphi.engine.restarts import Restarts
from localphi.errors import EngineBusy


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _nobody(_: str) -> int:
    return 0


def _order(queue: FairQueue[str]) -> list[str]:
    found = []
    while (item := queue.pop(_nobody)) is not None:
        found.append(item)
    return found


def test_clients_take_turns_and_each_ones_requests_stay_in_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "b2", "c1"):
        queue.put(item[0], item)
    assert len(queue) == 6
    assert _order(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


def test_who_has_less_at_work_goes_first() -> None:
    queue: FairQueue[str] = FairQueue()
    at_work = {"a": 6, "b": 0}
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    assert queue.pop(at_work.__getitem__) == "b1"
    assert queue.pop(at_work.__getitem__) == "a1"


def test_what_is_removed_does_not_come() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    queue.remove("a", "a1")
    queue.remove("a", "a1")
    queue.remove("b", "b1")
    queue.remove("nobody", "x")
    assert list(queue) == ["a2"]
    assert _order(queue) == ["a2"]


def test_one_client_never_gets_the_last_quarter_of_the_places() -> None:
    places = Places(8)
    taken = [places.take("a") for _ in range(6)]
    with pytest.raises(EngineBusy, match="Your share of the queue is full"):
        places.take("a")
    others = [places.take("b"), places.take("c")]
    with pytest.raises(EngineBusy, match=r"The queue is full \(8 requests\)"):
        places.take("d")
    taken[0].give_back()
    taken[0].give_back()
    places.take("d")
    with pytest.raises(EngineBusy):
        places.take("e")
    for place in (*taken, *others):
        place.give_back()


def test_callers_in_this_process_may_take_every_place() -> None:
    places = Places(8)
    for _ in range(8):
        places.take()
    with pytest.raises(EngineBusy):
        places.take()


def _retry_after_s(places: Places) -> int:
    with pytest.raises(EngineBusy) as caught:
        places.take()
    return caught.value.retry_after_s


def test_retry_after_is_when_the_next_place_is_likely_to_be_free() -> None:
    clock = _Clock()
    places = Places(4, clock)
    held = [places.take() for _ in range(4)]
    assert _retry_after_s(places) == 2, "nothing is known yet"
    clock.now_s += 20
    assert _retry_after_s(places) == 5, "20 s have not been enough for any of four"
    for place in held:
        place.give_back()
    held = [places.take() for _ in range(4)]
    assert _retry_after_s(places) == 5, "four are held for 20 s each"
    clock.now_s += 1000
    assert _retry_after_s(places) == MAX_RETRY_AFTER_S
    for place in held:
        place.give_back()
    for _ in range(60):
        place = places.take()
        clock.now_s += 0.1
        place.give_back()
    [places.take() for _ in range(4)]
    assert _retry_after_s(places) == 1, "the newest requests count most"


def test_a_worker_that_died_is_started_again_at_once_then_later_then_not() -> None:
    clock = _Clock()
    restarts = Restarts(clock)
    assert restarts.died() == 0
    clock.now_s += 5
    assert restarts.died() == 1
    assert restarts.pause_s == 0
    clock.now_s += 5
    assert restarts.died() is None
    assert restarts.pause_s == 5


def test_deaths_far_apart_are_no_reason_to_give_up() -> None:
    clock = _Clock()
    restarts = Restarts(clock)
    for _ in range(10):
        assert restarts.died() is not None
        clock.now_s += 31


def test_pauses_grow_until_a_worker_lives() -> None:
    clock = _Clock()
    restarts = Restarts(clock)
    restarts.died()
    restarts.died()
    pauses = []
    for _ in range(9):
        assert restarts.died() is None
        pauses.append(restarts.pause_s)
        clock.now_s += restarts.pause_s
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    clock.now_s += 61
    assert restarts.died() == 0
