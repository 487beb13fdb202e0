"""The server's side of the engine: submit a request, iterate over its answer.

    with engines.get("localphi-demo").submit(request) as answer:  # raises what is known by then
        for item in answer:  # Chunk…, Finished
            ...

Any thread may submit. Closing an answer, finished or not, frees its place; an unfinished one is cancelled.
"""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType

from localphi.chat import ChatRequest, Chunk, Finished
from localphi.config import Settings, disable_telemetry
from localphi.engine import worker
from localphi.engine.base import Admitted, Cancel, Event, Failed, Loaded, LoadFailed, Sent, Submit, WorkerSpec
from localphi.errors import EngineBusy, EngineFailed, EngineStopping, RequestAbandoned, WorkerDied
from localphi.models.store import ModelFolder, ModelStore

RETRY_AFTER_S = 2
_JOIN_TIMEOUT_S = 5.0
_POLL_S = 0.5  # how often a waiting thread looks whether it is still wanted; Windows needs it for Ctrl-C

Gone = Callable[[], bool]


def _never() -> bool:
    return False


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


class _Worker:
    """One worker process, the pipe to it, and the thread that hands its events to the waiting answers."""

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
                    case Loaded():
                        pass
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


class Answer:
    """A stream of Chunks that ends with Finished. Use it as a context manager, or close() it.

    prompt_tokens: length of the rendered prompt.
    """

    def __init__(
        self, worker_: _Worker, request_id: int, events: queue.SimpleQueue[Event], prompt_tokens: int
    ) -> None:
        self._worker = worker_
        self._request_id = request_id
        self._events = events
        self.prompt_tokens = prompt_tokens

    def next(self, timeout_s: float) -> Chunk | Finished | None:
        """The next item, or None when nothing came in time. Raises what ended the answer early."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        match event:
            case Failed(error):
                self.close()
                raise error
            case Finished():
                self._worker.forget(self._request_id)
                return event
            case Chunk():
                return event
            case Admitted():
                raise EngineFailed("The worker admitted a request twice.")

    def __iter__(self) -> Iterator[Chunk | Finished]:
        while True:
            item = self.next(_POLL_S)
            if item is not None:
                yield item
            if isinstance(item, Finished):
                return

    def close(self) -> None:
        """Free the place of this answer; cancels it unless it is over. May be called twice."""
        self._worker.abandon(self._request_id)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EngineClient:
    """One model: starts its worker when it is first needed, and again after the worker has died."""

    def __init__(self, spec: WorkerSpec, places: Places) -> None:
        self._spec = spec
        self._places = places
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False

    @property
    def worker_pid(self) -> int | None:
        return self._worker.pid if self._worker and self._worker.alive else None

    @property
    def held(self) -> int:
        """Requests the model holds now, running and waiting."""
        return self._worker.held if self._worker else 0

    def start(self) -> None:
        """Begin loading the model, without waiting for it."""
        self._running_worker()

    def submit(self, request: ChatRequest, gone: Gone = _never) -> Answer:
        """Wait until the request is admitted.

        gone: asked now and then whether nobody waits any more; then RequestAbandoned is raised.
        Raises EngineBusy, InvalidRequest, or what keeps the model from loading.
        """
        try:
            return self._submit(request, gone)
        except WorkerDied:  # often long before this request came; what it had not begun costs nothing
            return self._submit(request, gone)

    def close(self) -> None:
        """End the worker for good. Answers at work, and requests to come, get EngineStopping."""
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.close()

    def _submit(self, request: ChatRequest, gone: Gone) -> Answer:
        worker_ = self._running_worker()
        request_id = next(self._numbers)
        events = worker_.register(request_id)
        try:
            worker_.send(Submit(request_id, request))
            first = _first(events, gone)
        except BaseException:  # Ctrl-C too: the place must not stay taken
            worker_.abandon(request_id)
            raise
        if isinstance(first, Admitted):
            return Answer(worker_, request_id, events, first.prompt_tokens)
        worker_.forget(request_id)
        if isinstance(first, Failed):
            raise first.error
        raise EngineFailed("The worker answered before it admitted the request.")

    def _running_worker(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise EngineStopping
            if self._worker is None or not self._worker.alive:
                self._worker = _Worker(self._spec, self._places)
            return self._worker


def _first(events: queue.SimpleQueue[Event], gone: Gone) -> Event:
    while True:
        try:
            return events.get(timeout=_POLL_S)
        except queue.Empty:
            if gone():
                raise RequestAbandoned from None


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


class Engines:
    """The loaded models of one server, by id."""

    def __init__(self, store: ModelStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._places = Places(settings.max_requests)
        self._lock = threading.Lock()
        self._clients: dict[str, EngineClient] = {}
        self._closed = False

    def get(self, model_id: str) -> EngineClient:
        """The engine of a model of the store. Raises ModelNotFound."""
        with self._lock:
            if self._closed:
                raise EngineStopping
            if model_id not in self._clients:
                spec = self._spec(self._store.get(model_id))
                self._clients[model_id] = EngineClient(spec, self._places)
            return self._clients[model_id]

    def start_default(self) -> None:
        """Begin loading the model that answers when none is named."""
        self.get(self._store.default().id).start()

    def close(self) -> None:
        """End every worker. May be called twice."""
        with self._lock:
            self._closed = True
            clients = list(self._clients.values())
            self._clients.clear()
        for client in clients:
            client.close()

    def _spec(self, folder: ModelFolder) -> WorkerSpec:
        settings = self._settings
        return WorkerSpec(
            model=folder.id,
            folder=folder.path,
            bundled=folder.bundled,
            backend=settings.backend,
            threads=settings.threads,
            max_active=settings.max_active,
            kv_budget_bytes=settings.kv_budget_bytes,
        )
