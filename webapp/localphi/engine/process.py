"""A worker process seen from outside: the pipe to it, and who waits for which of its events."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from localphi.config import disable_telemetry
from localphi.engine import worker
from localphi.engine.base import Cancel, Event, Failed, LoadFailed, Sent, Submit, WorkerSpec
from localphi.errors import EngineBusy, EngineStopping, WorkerDied

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
        self._waiting: dict[int, queue.SimpleQueue[Event]] = {}
        self._lock = threading.Lock()
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
        return len(self._waiting)

    def register(self, request_id: int) -> queue.SimpleQueue[Event]:
        """Where the events of this request will arrive. An ended worker answers with its failure at once.

        Raises EngineBusy when the server holds as many requests as it may.
        """
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        with self._lock:
            if self._over is not None:
                events.put(self._over)
                return events
            self._places.take()
            self._waiting[request_id] = events
        return events

    def forget(self, request_id: int) -> bool:
        """Stop listening; True if the request was still being listened to."""
        with self._lock:
            if self._waiting.pop(request_id, None) is None:
                return False
        self._places.give_back()
        return True

    def abandon(self, request_id: int) -> None:
        """Stop listening, and let the worker drop the request."""
        if self.forget(request_id):
            self.send(Cancel(request_id))

    def send(self, command: Submit | Cancel) -> None:
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
                    case LoadFailed(error):
                        failed = Failed(error)
        except (EOFError, OSError):
            self._process.join(_JOIN_TIMEOUT_S)
            died = WorkerDied(self._spec.model, self._process.exitcode)
            self._end(failed or Failed(EngineStopping() if self._stopping else died))

    def _deliver(self, request_id: int, event: Event) -> None:
        with self._lock:
            events = self._waiting.get(request_id)
        if events is not None:
            events.put(event)

    def _end(self, failed: Failed) -> None:
        with self._lock:
            self._over = failed
            waiting, self._waiting = self._waiting, {}
        self._places.give_back(len(waiting))
        for events in waiting.values():
            events.put(failed)


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
