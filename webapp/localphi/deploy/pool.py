"""Ray's replicas as whoever computes the answers of this server's model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException, RequestCancelledError

from localphi.chat import ChatRequest
from localphi.config import Settings
from localphi.deploy.stats import routing_stats
from localphi.engine.base import Event, Failed, Question, Reply
from localphi.engine.elsewhere import Elsewhere, engines_of
from localphi.engine.far import Call, Lost, ReplicaCounts
from localphi.errors import LocalphiError, UpstreamBusy, UpstreamUnreachable
from localphi.models.store import ModelStore

_LOST = "a replica"
_RETRY_AFTER_S = 5
_NEWEST = 0.2
_REPLY_S = 30.0


class RayPool:
    """The replicas as whoever computes answers. handle: Ray's, to the deployment."""

    def __init__(self, handle: Any) -> None:
        self._streams = handle.options(stream=True)
        self._handle = handle
        self._mean_s = 1.0

    @property
    def failure(self) -> LocalphiError | None:
        """Ray starts again what has died; until then requests wait."""
        return None

    def open(self, request: ChatRequest, lost_at: Sequence[str], full_at: Sequence[str]) -> Call | None:
        return None if full_at else _RayCall(self, self._streams.answer.remote(request))

    def reply(self, question: Question) -> Reply:
        try:
            reply = self._handle.reply.remote(question).result(timeout_s=_REPLY_S)
        except (RayError, RayServeException, TimeoutError) as error:
            raise UpstreamUnreachable("no replica replies", _RETRY_AFTER_S) from error
        if isinstance(reply, Failed):
            raise reply.error
        return reply  # type: ignore[no-any-return]

    def replicas(self) -> Sequence[ReplicaCounts]:
        """As they said some seconds ago."""
        told = {counts["replica"]: ReplicaCounts(**counts) for counts in routing_stats()}
        return [told[name] for name in sorted(told)]

    def took(self, seconds: float) -> None:
        self._mean_s += _NEWEST * (seconds - self._mean_s)

    @property
    def retry_after_s(self) -> int:
        return min(max(1, math.ceil(self._mean_s)), 60)


class _RayCall:
    """An answer of a replica."""

    tells_ids = True

    def __init__(self, pool: RayPool, batches: Any) -> None:
        self._pool = pool
        self._batches = batches

    def __iter__(self) -> Iterator[Event]:
        began_s = time.monotonic()
        try:
            for batch in self._batches:
                yield from batch
            self._pool.took(time.monotonic() - began_s)
        except BackPressureError as error:
            raise UpstreamBusy(self._pool.retry_after_s, "ray") from error
        except (RayError, RayServeException, RequestCancelledError) as error:
            raise Lost(_LOST, f"its replica was lost ({type(error).__name__})") from error

    def close(self) -> None:
        with suppress(Exception):  # one that is over, or a Ray that has ended
            self._batches.cancel()


def elsewhere(settings: Settings, handle: Any, close: Callable[[], object] = lambda: None) -> Elsewhere:
    """The replicas behind a handle, for an application. Manifests come from this machine's store."""
    pool = RayPool(handle)
    store = OneModel(settings)
    return Elsewhere(store, engines_of("ray", lambda _: pool), close)


class OneModel(ModelStore):
    """The store of replicas that hold one model."""

    def __init__(self, settings: Settings) -> None:
        pinned = ModelStore(settings.home).pin(settings.model).default()
        super().__init__(settings.home, pinned=pinned)
        self._only = pinned

    def folders(self) -> list[Any]:
        return [self._only]
