"""The items of an answer at work, for as long as somebody waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import request

from localphi.chat import Finished, Item
from localphi.engine.client import Answer, Gone
from localphi.errors import RequestAbandoned

KEEPALIVE_S = 10.0
_POLL_S = 0.5


def client_left() -> Gone:
    """waitress's own question whether the connection is gone; clients of other servers are taken to stay."""
    gone: Gone = request.environ.get("waitress.client_disconnected", lambda: False)
    return gone


def whole(answer: Answer, gone: Gone, take: Callable[[Item], object]) -> Finished:
    """The end of an answer that is sent whole; `take` gets the items before it.

    Raises RequestAbandoned as soon as nobody waits for it any more.
    """
    while not isinstance(item := answer.next(_POLL_S), Finished):
        if item is not None:
            take(item)
        if gone():
            raise RequestAbandoned
    return item


def streamed(answer: Answer, gone: Gone) -> Iterator[Item | None]:
    """The items of an answer that is sent as it comes; None when it has been silent for `KEEPALIVE_S`.

    Ends without Finished when the client has left, also while the model is still silent.
    """
    silent_s = 0.0
    while not isinstance(item := answer.next(_POLL_S), Finished):
        if gone():
            return
        silent_s = silent_s + _POLL_S if item is None else 0.0
        if item is not None:
            yield item
        elif silent_s >= KEEPALIVE_S:
            silent_s = 0.0
            yield None
    yield item
