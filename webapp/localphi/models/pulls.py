"""Pulls that go on in the background of a server, and what is known of each.

One pull at a time, in a thread of its own. It keeps what has come, byte by byte (`pull.py`), so a server that
ends in the middle loses nothing: the next pull of that model goes on there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from localphi.errors import LocalphiError, PullBusy, PullNotFound
from localphi.models.catalogue import CatalogueModel, Source, catalogue
from localphi.models.hub import Hub
from localphi.models.pull import Plan, Progress, Puller
from localphi.models.store import ModelStore, find_damage

_LOG = logging.getLogger(__name__)

PullStatus = Literal["asking", "fetching", "done", "failed", "stopped"]
_ENDED = ("done", "failed", "stopped")
_BREATH_S = 0.25


@dataclass(frozen=True)
class PullState:
    """Where a pull is.

    status: asking the hub what there is, fetching it, or how it ended. total_bytes: 0 until the hub has said.
    bytes_per_s: of what came over the network, since the pull began. note: why nothing comes at the moment.
    error: why it failed.
    """

    id: str
    model: str
    status: PullStatus = "asking"
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float = 0.0
    note: str = ""
    error: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this rate; None while nobody can know."""
        if self.status != "fetching" or not self.bytes_per_s:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.bytes_per_s


class Pulls:
    """hub: makes the way to the hub, when the first pull wants it."""

    def __init__(self, store: ModelStore, hub: Callable[[], Hub]) -> None:
        self._store = store
        self._hub = hub
        self._lock = threading.Lock()
        self._pulls: dict[str, _Pull] = {}

    def states(self) -> list[PullState]:
        """Of every pull since the server began; the last one of each model."""
        with self._lock:
            return [pull.state for pull in self._pulls.values()]

    def start(self, source_id: str) -> PullState:
        """Begin to fetch that model of the catalogue, unless it is under way.

        Raises ModelNotFound, or PullBusy while another one is fetched.
        """
        model, source = catalogue().of_id(source_id)
        with self._lock:
            for pull in self._pulls.values():
                if pull.state.id == source.id and not pull.state.ended:
                    return pull.state
                if not pull.state.ended:
                    raise PullBusy(
                        f"{pull.state.id} is being fetched. Wait until it is here, or stop it first."
                    )
            pull = _Pull(PullState(source.id, model.name))
            self._pulls[source.id] = pull
        work = threading.Thread(
            target=pull.run, args=(self._store, self._hub, model, source), name="localphi-pull", daemon=True
        )
        work.start()
        return pull.state

    def stop(self, source_id: str) -> None:
        """End the pull; what has come is kept. Raises PullNotFound."""
        self._get(source_id).stop()

    def watch(self, source_id: str, every_s: float) -> Iterator[PullState | None]:
        """The state at once and when it has changed, four times a second at most, until the one that says how
        it ended. None when it is the same after `every_s`. Raises PullNotFound.
        """
        return self._get(source_id).watch(every_s)

    def _get(self, source_id: str) -> _Pull:
        with self._lock:
            if source_id not in self._pulls:
                raise PullNotFound(source_id)
            return self._pulls[source_id]


class _Stopped(Exception):
    pass


class _Pull(Progress):
    """One pull: its thread changes the state, others read it."""

    def __init__(self, state: PullState) -> None:
        self.state = state
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._fetched = 0
        self._began_s = 0.0

    def stop(self) -> None:
        self._stop.set()

    def run(self, store: ModelStore, hub: Callable[[], Hub], model: CatalogueModel, source: Source) -> None:
        try:
            self._pull(Puller(store, hub(), self._wait), model, source)
            self._set(status="done", note="")
        except _Stopped:
            self._set(status="stopped", note="")
        except LocalphiError as error:
            self._set(status="failed", note="", error=error.message)
        except Exception as error:
            _LOG.exception("The pull of %s broke", source.id)
            self._set(status="failed", note="", error=f"It broke: {type(error).__name__}: {error}")

    def watch(self, every_s: float) -> Iterator[PullState | None]:
        told: PullState | None = None
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._differs, told), every_s)
                state = self.state
            yield None if state == told else state
            if state.ended:
                return
            told = state
            with self._changed:
                self._changed.wait_for(lambda: self.state.ended, _BREATH_S)

    def _differs(self, told: PullState | None) -> bool:
        return self.state != told

    def kept(self, size: int) -> None:
        self._count(size)

    def fetched(self, size: int) -> None:
        self._fetched += size
        self._count(size)

    def waiting(self, seconds: float, problem: str) -> None:
        self._set(note=f"{problem}; asking again in {seconds:.0f} s")

    def _pull(self, puller: Puller, model: CatalogueModel, source: Source) -> None:
        local = puller.local(source)
        plan = puller.plan(model, source)
        if self._stop.is_set():
            raise _Stopped
        if local is None or plan.missing_bytes or find_damage(local):
            self._begin(plan)
            puller.pull(plan, self)

    def _begin(self, plan: Plan[CatalogueModel, Source]) -> None:
        self._began_s = time.monotonic()
        self._set(status="fetching", total_bytes=plan.total_bytes)

    def _count(self, size: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        seconds = max(0.001, time.monotonic() - self._began_s)
        rate = max(0, self._fetched) / seconds
        self._set(done_bytes=self.state.done_bytes + size, bytes_per_s=rate, note="")

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _set(self, **changes: Any) -> None:
        with self._changed:
            self.state = replace(self.state, **changes)
            self._changed.notify_all()
