"""The servers that compute answers for this one: which are alive, and who is asked next.

Each is asked every few seconds what it serves. A request goes to the one with the fewest of ours at work;
among equals a conversation goes back to the one it was with, which has its beginning in the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from localphi.chat import ChatRequest
from localphi.engine.affinity import key_of, preference
from localphi.engine.base import Question, Reply
from localphi.engine.far import Call, Lost, ReplicaCounts
from localphi.engine.upstream import Upstream, UpstreamModel, parse_address
from localphi.errors import LocalphiError, ServerStartFailed, UpstreamUnreachable

_CHECK_EVERY_S = 5.0
_RETRY_AFTER_S = 5


class Upstreams:
    """Asks them all for the first time when it is made, and again until it is closed."""

    def __init__(self, addresses: Sequence[str], key: str = "", *, every_s: float = _CHECK_EVERY_S) -> None:
        if not addresses:
            raise ServerStartFailed("--engine remote needs --upstream URL, the server that answers.")
        self._upstreams = [Upstream(parse_address(text), key) for text in dict.fromkeys(addresses)]
        self._every_s = every_s
        self._closed = threading.Event()
        self._look_now = threading.Event()
        self._known: dict[str, UpstreamModel] = {}
        self._check_all()
        threading.Thread(target=self._watch, name="localphi-upstreams", daemon=True).start()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(upstream.name for upstream in self._upstreams)

    def models(self) -> list[UpstreamModel]:
        """Every model that one of them serves, or served when it was alive; in the order of their lists."""
        return list(self._known.values())

    def unreachable(self) -> UpstreamUnreachable:
        problems = "; ".join(f"{upstream.name}: {upstream.problem}" for upstream in self._upstreams)
        return UpstreamUnreachable(problems, _RETRY_AFTER_S)

    def serving(self, model: str) -> list[Upstream]:
        return [upstream for upstream in self._upstreams if _full_id(model, upstream.models) is not None]

    def first(self, model: str) -> Upstream:
        """Any that serves the model. Raises UpstreamUnreachable."""
        if not (found := self.serving(model)):
            raise self.unreachable()
        return found[0]

    def chosen(self, model: str, request: ChatRequest, lost_at: Sequence[str]) -> list[Upstream]:
        """Whom to ask, best first."""
        key = key_of(request)
        serving = sorted(self.serving(model), key=lambda each: preference(key, each.name), reverse=True)
        return sorted(serving, key=lambda each: (lost_at.count(each.name), each.busy.number))

    def check_soon(self) -> None:
        self._look_now.set()

    def close(self) -> None:
        self._closed.set()
        self._look_now.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            self._look_now.wait(self._every_s)
            self._look_now.clear()
            if not self._closed.is_set():
                self._check_all()

    def _check_all(self) -> None:
        with ThreadPoolExecutor(len(self._upstreams), "localphi-check") as pool:
            list(pool.map(Upstream.check, self._upstreams))
        found = {name: model for upstream in self._upstreams for name, model in upstream.models.items()}
        self._known = found or self._known


def _full_id(model: str, models: dict[str, Any]) -> str | None:
    """The id of a list that `model` means: what stands behind a colon may have been taken for an adapter."""
    if model in models:
        return model
    return model if any(name.startswith(f"{model}:") for name in models) else None


class UpstreamPool:
    """The upstream servers as whoever computes one model's answers."""

    def __init__(self, upstreams: Upstreams, model: str) -> None:
        self._upstreams = upstreams
        self._model = model

    @property
    def failure(self) -> LocalphiError | None:
        return None if self._upstreams.serving(self._model) else self._upstreams.unreachable()

    def open(self, request: ChatRequest, lost_at: Sequence[str], full_at: Sequence[str]) -> Call | None:
        if lost_at:
            self._upstreams.check_soon()
        chosen = self._upstreams.chosen(self._model, request, lost_at)
        if not chosen:
            if lost_at:
                raise Lost("", self._upstreams.unreachable().message)
            raise self._upstreams.unreachable()
        chosen = [upstream for upstream in chosen if upstream.name not in full_at]
        if not chosen:
            return None
        return chosen[0].call(self._model, request)

    def replicas(self) -> Sequence[ReplicaCounts]:
        return ()

    def reply(self, question: Question) -> Reply:
        try:
            return self._upstreams.first(self._model).reply(self._model, question)
        except Lost as lost:
            raise UpstreamUnreachable(lost.problem, _RETRY_AFTER_S) from lost
