"""The items of answers at work, for as long as somebody waits for them.

A request has one answer or several (`n`). They are taken as one: all are admitted or none, the first failure
ends all of them, and closing them frees every place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from flask import request

from localphi.chat import ChatRequest, Finished, Item, Usage
from localphi.engine.client import Answer, Engine, Gone
from localphi.errors import RequestAbandoned
from localphi.routes.schema import MAX_SEED
from localphi.routes.tracing import traceparent

KEEPALIVE_S = 10.0
_POLL_S = 0.5
_TURN_S = 0.02  # how long one of several silent answers is listened to before the others are


class Answers:
    """Answers to one prompt, counted from 0. Use them as a context manager, or close() them."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = tuple(answers)
        self._live = dict(enumerate(answers))

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers)

    @property
    def over(self) -> bool:
        """Whether every one has come to its end."""
        return not self._live

    def next(self, timeout_s: float) -> tuple[int, Item] | None:
        """The next item of any answer, with the answer's number; None when nothing came in time.

        Raises what ended one of them early; then close() the others.
        """
        if len(self._live) == 1:
            return self._ask(next(iter(self._live)), timeout_s)
        deadline = time.monotonic() + timeout_s
        while (came := self._listen()) is None and time.monotonic() < deadline:
            pass
        return came

    def close(self) -> None:
        """Free all their places; cancels what is unfinished. May be called twice."""
        for answer in self._answers:
            answer.close()

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _listen(self) -> tuple[int, Item] | None:
        """What any of several has to say already; else the first in the line is waited for a little."""
        for index in tuple(self._live):
            if (came := self._ask(index, 0)) is not None:
                return came
        return self._ask(next(iter(self._live)), _TURN_S)

    def _ask(self, index: int, timeout_s: float) -> tuple[int, Item] | None:
        answer = self._live[index]
        item = answer.next(timeout_s)
        if item is None:
            return None
        del self._live[index]
        if not isinstance(item, Finished):
            self._live[index] = answer  # at the end of the line
        return index, item


def submit(engine: Engine, asked: ChatRequest, n: int, gone: Gone, client: str = "") -> Answers:
    """`n` answers to one request, their seeds counting up from its seed.

    All are admitted or none: what one of them raises, such as EngineBusy, frees the places of those before.
    """
    asked = replace(asked, trace=traceparent())
    taken: list[Answer] = []
    try:
        for index in range(n):
            taken.append(engine.submit(_seeded(asked, index), gone, client))
    except BaseException:  # Ctrl-C too: no place must stay taken
        Answers(taken).close()
        raise
    return Answers(taken)


def _seeded(asked: ChatRequest, index: int) -> ChatRequest:
    seed = asked.sampling.seed
    if seed is None:
        return asked
    return replace(asked, sampling=replace(asked.sampling, seed=(seed + index) % (MAX_SEED + 1)))


def total_usage(usages: Sequence[Usage]) -> Usage:
    """Of answers to one prompt, which counts once. cached_tokens: what none of them had to compute."""
    if len(usages) == 1:
        return usages[0]
    cached = [usage.cached_tokens for usage in usages if usage.cached_tokens is not None]
    completion_tokens = sum(usage.completion_tokens for usage in usages)
    return Usage(usages[0].prompt_tokens, completion_tokens, cached_tokens=min(cached) if cached else None)


def client_left() -> Gone:
    """waitress's own question whether the connection is gone; clients of other servers are taken to stay."""
    gone: Gone = request.environ.get("waitress.client_disconnected", lambda: False)
    return gone


def whole(answers: Answers, gone: Gone, take: Callable[[int, Item], object]) -> None:
    """`take` every item of answers that are sent whole, to the last Finished.

    Raises RequestAbandoned as soon as nobody waits for them any more.
    """
    while not answers.over:
        came = answers.next(_POLL_S)
        if came is not None:
            take(*came)
        if not answers.over and gone():
            raise RequestAbandoned


def streamed(answers: Answers, gone: Gone) -> Iterator[tuple[int, Item] | None]:
    """The items of answers that are sent as they come; None when all have been silent for `KEEPALIVE_S`.

    Ends before the last Finished when the client has left, also while the model is still silent.
    """
    silent_s = 0.0
    while not answers.over:
        came = answers.next(_POLL_S)
        if not answers.over and gone():
            return
        silent_s = silent_s + _POLL_S if came is None else 0.0
        if came is not None:
            yield came
        elif silent_s >= KEEPALIVE_S:
            silent_s = 0.0
            yield None
