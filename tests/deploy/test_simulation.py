"""The simulation behind docs/scale.md gives what was measured, and what arithmetic says without a queue."""

from __future__ import annotations

import pytest

from bench.simulate_scale import measured, rate_at, simulate, users_for

RATES = {1: 2.0, 2: 3.0, 4: 4.0, 8: 4.0}


def test_two_replicas_come_out_as_they_were_measured() -> None:
    told = measured()
    simulated = simulate(told["rates"], 2, told["clients"], 0.0, seconds=300).per_second
    assert simulated == pytest.approx(told["two"], rel=0.15)


def test_few_users_are_answered_as_if_they_were_alone() -> None:
    out = simulate(RATES, 4, 1, 10.0, seconds=20_000)
    assert out.wait_s == pytest.approx(0.5)
    assert out.per_second == pytest.approx(1 / 10.5, rel=0.05)


def test_a_full_replica_does_what_it_can_and_the_others_wait() -> None:
    out = simulate(RATES, 1, 16, 0.0, seconds=1000)
    assert out.per_second == pytest.approx(4.0, rel=0.01)
    assert out.wait_s == pytest.approx(16 / 4.0, rel=0.05)  # Little's law


def test_between_what_was_measured_there_are_straight_lines() -> None:
    assert [rate_at(RATES, number) for number in (1, 2, 3, 4, 6, 20)] == [2.0, 3.0, 3.5, 4.0, 4.0, 4.0]


def test_more_replicas_take_more_users() -> None:
    one, two = (users_for(RATES, replicas, 10.0, 2.0) for replicas in (1, 2))
    assert two > 1.9 * one
