"""A worker process seen from outside: the pipe to it, and who waits for which of its events."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from localphi.config import disable_telemetry
from localphi.engine import worker
from localphi.engine.base import Cancel, Command, Event, Failed, LoadFailed, Sent, Status, WorkerSpec
from localphi.errors import EngineBusy, EngineStopping, LocalphiError, WorkerDied

RETRY_AFTER_S = 2
_JOIN_TIMEOUT_S = 5.0


class Places:
    """How many requests a server may hold, over all of its models."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> None:
        """Raises EngineBusy when every place is taken."""
        with self._lock:
            if self._taken >= self._limit:
                raise EngineBusy(self._taken, RETRY_AFTER_S)
            self._taken += 1

    def give_back(self, places: int = 1) -> None:
        with self._lock:
            self._taken -= places


@dataclass(frozen=True)
class _Listener:
    """Who waits for the events of a request. has_place: it is one of those that `Places` counts."""

    events: queue.SimpleQueue[Event]
    has_place: bool


class WorkerProcess:
    """Owns the process, the pipe, and the thread that hands events to those who wait for them."""

    def __init__(self, spec: WorkerSpec, places: Places) -> None:
        disable_telemetry()  # the child imports onnxruntime with the environment it inherits
        context = multiprocessing.get_context("spawn")
        self._spec = spec
        self._places = places
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=worker.main, args=(theirs, spec), name=f"localphi-{spec.model}", daemon=True
        )
        with _interrupts_blocked():
            self._process.start()
        theirs.close()
        self._sending = threading.Lock()
        self._listeners: dict[int, _Listener] = {}
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._over: Failed | None = None
        self._stopping = False
        self._reader = threading.Thread(target=self._read, name=f"localphi-{spec.model}-events", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._over is None

    @property
    def held(self) -> int:
        """Requests the worker has, running and waiting."""
        with self._lock:
            return _places(self._listeners)

    @property
    def loaded(self) -> bool:
        return self._status is not None

    @property
    def active(self) -> int:
        """Requests the worker works on; none once it has ended."""
        return self._status.active if self._status and self.alive else 0

    @property
    def failure(self) -> LocalphiError | None:
        """What ended the worker, None while it runs."""
        return self._over.error if self._over else None

    def register(self, request_id: int, *, takes_place: bool = True) -> queue.SimpleQueue[Event]:
        """Where the events of this request will arrive. An ended worker answers with its failure at once.

        takes_place: it is one of the requests that a server may hold; EngineBusy is raised for one too many.
        """
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        with self._lock:
            if self._over is not None:
                events.put(self._over)
                return events
            if takes_place:
                self._places.take()
            self._listeners[request_id] = _Listener(events, takes_place)
        return events

    def forget(self, request_id: int) -> bool:
        """Stop listening; True if the request was still being listened to."""
        with self._lock:
            listener = self._listeners.pop(request_id, None)
        if listener is not None and listener.has_place:
            self._places.give_back()
        return listener is not None

    def abandon(self, request_id: int) -> None:
        """Stop listening, and let the worker drop the request."""
        if self.forget(request_id):
            self.send(Cancel(request_id))

    def send(self, command: Command) -> None:
        """Best effort: when the process has ended, the reader tells every waiting answer."""
        try:
            with self._sending:
                self._pipe.send(command)
        except OSError:
            return

    def close(self) -> None:
        """End the process. Answers still at work end with EngineStopping."""
        self._stopping = True
        self._process.terminate()
        self._process.join(_JOIN_TIMEOUT_S)
        self._reader.join(_JOIN_TIMEOUT_S)
        self._pipe.close()

    def _read(self) -> None:
        failed: Failed | None = None
        try:
            while True:
                match self._pipe.recv():
                    case Sent(request_id, event):
                        self._deliver(request_id, event)
                    case Status() as status:
                        self._status = status
                    case LoadFailed(error):
                        failed = Failed(error)
        except (EOFError, OSError):
            self._process.join(_JOIN_TIMEOUT_S)
            died = WorkerDied(self._spec.model, self._process.exitcode)
            self._end(failed or Failed(EngineStopping() if self._stopping else died))

    def _deliver(self, request_id: int, event: Event) -> None:
        with self._lock:
            listener = self._listeners.get(request_id)
        if listener is not None:
            listener.events.put(event)

    def _end(self, failed: Failed) -> None:
        with self._lock:
            self._over = failed
            listeners, self._listeners = self._listeners, {}
        self._places.give_back(_places(listeners))
        for listener in listeners.values():
            listener.events.put(failed)


def _places(listeners: Mapping[int, _Listener]) -> int:
    return sum(listener.has_place for listener in listeners.values())


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, not even while they are still importing.

    Not possible on Windows, where the worker ignores it once its imports are done.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # started by the first process, and it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
