"""Crowds: nobody is lost, nothing is kept. The long form is tests/bench/soak_server.py."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from localphi.config import Settings
from serving import LiveServer, serving
from soaking import Kept, OpenStreams, health_times_s, soak

DEMO = "localphi-demo"
WORDS = [{"role": "user", "content": "word " * 1000}]


@pytest.fixture
def server(echo_settings: Settings) -> Iterator[LiveServer]:
    with serving(replace(echo_settings, max_requests=64)) as server:
        yield server


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def _short(chance: random.Random) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "word " * chance.randint(1, 200)}]}


def _idle(server: LiveServer) -> bool:
    state = server.engines.get(DEMO).state
    return state.held == state.active == 0


def test_clients_that_leave_cost_nothing_and_nobody_else_is_lost(server: LiveServer) -> None:
    soak(server.url, 40, 16, _short)  # what is made once is made now
    _wait_for(lambda: _idle(server))
    before = Kept.by()
    ends = soak(server.url, 400, 16, _short)
    _wait_for(lambda: _idle(server))
    assert set(ends) == {"answered", "left"}, ends
    assert ends["left"] >= 20
    _wait_for(lambda: Kept.by().files <= before.files)
    after = Kept.by()
    assert (after.processes, after.zombies) == (before.processes, 0)
    assert after.threads <= before.threads
    assert server.engines._places._taken == set(), "every place has come back"
    assert httpx.post(server.url + "/v1/chat/completions", json=_short(random.Random())).status_code == 200


def test_of_a_thousand_requests_each_is_answered_or_told_to_come_back(server: LiveServer) -> None:
    ends = soak(server.url, 1000, 200, _short, leaving=0, retries=False)
    assert set(ends) <= {"answered", "refused"}, ends
    assert ends["answered"] >= 64
    assert sum(ends.values()) == 1000
    _wait_for(lambda: _idle(server))


def test_the_server_lives_on_while_many_streams_are_silent(server: LiveServer) -> None:
    """Their worker is stopped, as by a prefill that has no end."""
    engine = server.engines.get(DEMO)
    engine.decode((1,))
    pid = engine.worker_pid
    assert pid is not None
    streams = OpenStreams(server.url, ({"messages": WORDS} for _ in range(48)))
    try:
        streams.wait()
        os.kill(pid, signal.SIGSTOP)
        times_s = sorted(health_times_s(server.url, 1))
        assert times_s[len(times_s) // 2] < 0.25
    finally:
        os.kill(pid, signal.SIGCONT)
        streams.close()
    _wait_for(lambda: _idle(server))
