"""The server's side of the engine: submit a request, iterate over its answer.

    with engines.get("localphi-demo").submit(request) as answer:  # raises what is known by then
        for item in answer:  # Chunk…, CallStarted, CallArguments…, Finished
            ...

Any thread may submit. Closing an answer, finished or not, frees its place; an unfinished one is cancelled.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from localphi.chat import CallArguments, CallStarted, ChatRequest, Chunk, Finished, Item
from localphi.config import Settings
from localphi.engine.base import (
    Admitted,
    Ask,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Event,
    Failed,
    Question,
    Reply,
    Submit,
    WorkerSpec,
)
from localphi.engine.process import Places, WorkerProcess
from localphi.errors import EngineFailed, EngineStopping, LocalphiError, RequestAbandoned, WorkerDied
from localphi.models.store import ModelFolder, ModelStore

_POLL_S = 0.5  # how often a waiting thread looks whether it is still wanted; Windows needs it for Ctrl-C

Gone = Callable[[], bool]
Watcher = Callable[[Item | LocalphiError | None], object]
"""Gets each item of an answer as it is taken, and what ends it early: an error, or None for a close()."""


def _never() -> bool:
    return False


def _nobody(_: Item | LocalphiError | None) -> None:
    return None


class Answer:
    """A stream of Items that ends with Finished. Use it as a context manager, or close() it."""

    def __init__(
        self, process: WorkerProcess, request_id: int, events: queue.SimpleQueue[Event], prompt_tokens: int
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self._process = process
        self._request_id = request_id
        self._events = events
        self._watcher: Watcher = _nobody
        self._over = False

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` see the items that are to come, and the end."""
        self._watcher = watcher

    def next(self, timeout_s: float) -> Item | None:
        """The next item, or None when nothing came in time. Raises what ended the answer early."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        match event:
            case Failed(error):
                self._process.abandon(self._request_id)
                self._over = True
                self._watcher(error)
                raise error
            case Finished():
                self._process.forget(self._request_id)
                self._over = True
                self._watcher(event)
                return event
            case Chunk() | CallStarted() | CallArguments():
                self._watcher(event)
                return event
            case Admitted() | Encoded() | Decoded():
                raise EngineFailed("The worker sent what does not belong to an answer.")

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self.next(_POLL_S)
            if item is not None:
                yield item
            if isinstance(item, Finished):
                return

    def close(self) -> None:
        """Free the place of this answer; cancels it unless it is over. May be called twice."""
        self._process.abandon(self._request_id)
        if not self._over:
            self._over = True
            self._watcher(None)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class EngineState:
    """What a model is doing. held: requests it has; active: those of them that it works on now.

    status: idle until it is first needed. failure: what ended its worker, None unless the status is failed.
    """

    status: Literal["idle", "loading", "loaded", "failed"]
    held: int = 0
    active: int = 0
    failure: LocalphiError | None = None


class EngineClient:
    """One model: starts its worker when it is first needed, and again after the worker has died."""

    def __init__(self, spec: WorkerSpec, places: Places) -> None:
        self._spec = spec
        self._places = places
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._process: WorkerProcess | None = None
        self._closed = False

    @property
    def worker_pid(self) -> int | None:
        return self._process.pid if self._process and self._process.alive else None

    @property
    def held(self) -> int:
        """Requests the model holds now, running and waiting."""
        return self._process.held if self._process else 0

    @property
    def state(self) -> EngineState:
        process = self._process
        if process is None:
            return EngineState("idle")
        if process.failure is not None:
            return EngineState("failed", failure=process.failure)
        return EngineState("loaded" if process.loaded else "loading", process.held, process.active)

    def start(self) -> None:
        """Begin loading the model, without waiting for it."""
        self._running_process()

    def submit(self, request: ChatRequest, gone: Gone = _never) -> Answer:
        """Wait until the request is admitted.

        gone: asked now and then whether nobody waits any more; then RequestAbandoned is raised.
        Raises EngineBusy, InvalidRequest, or what keeps the model from loading.
        """
        try:
            return self._submit(request, gone)
        except WorkerDied:  # often long before this request came; what it had not begun costs nothing
            return self._submit(request, gone)

    def encode(self, asked: Encode, gone: Gone = _never) -> Encoded:
        """The token ids of a text. Takes no place, and waits for one step of the answers at work."""
        reply = self._reply(asked, gone)
        if not isinstance(reply, Encoded):
            raise EngineFailed("The worker replied to another question.")
        return reply

    def decode(self, ids: Sequence[int], gone: Gone = _never) -> str:
        """The text of token ids, control tokens included. Raises InvalidRequest for an id that is none."""
        reply = self._reply(Decode(tuple(ids)), gone)
        if not isinstance(reply, Decoded):
            raise EngineFailed("The worker replied to another question.")
        return reply.text

    def close(self) -> None:
        """End the worker for good. Answers at work, and requests to come, get EngineStopping."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.close()

    def _submit(self, request: ChatRequest, gone: Gone) -> Answer:
        process = self._running_process()
        request_id = next(self._numbers)
        events = process.register(request_id)
        try:
            process.send(Submit(request_id, request))
            first = _first(events, gone)
        except BaseException:  # Ctrl-C too: the place must not stay taken
            process.abandon(request_id)
            raise
        if isinstance(first, Admitted):
            return Answer(process, request_id, events, first.prompt_tokens)
        process.forget(request_id)
        if isinstance(first, Failed):
            raise first.error
        raise EngineFailed("The worker answered before it admitted the request.")

    def _reply(self, question: Question, gone: Gone) -> Reply:
        try:
            return self._ask(question, gone)
        except WorkerDied:
            return self._ask(question, gone)

    def _ask(self, question: Question, gone: Gone) -> Reply:
        process = self._running_process()
        request_id = next(self._numbers)
        events = process.register(request_id, takes_place=False)
        try:
            process.send(Ask(request_id, question))
            reply = _first(events, gone)
        finally:
            process.forget(request_id)
        if isinstance(reply, Failed):
            raise reply.error
        if isinstance(reply, Encoded | Decoded):
            return reply
        raise EngineFailed("The worker answered where it should have replied.")

    def _running_process(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise EngineStopping
            if self._process is None or not self._process.alive:
                self._process = WorkerProcess(self._spec, self._places)
            return self._process


def _first(events: queue.SimpleQueue[Event], gone: Gone) -> Event:
    while True:
        try:
            return events.get(timeout=_POLL_S)
        except queue.Empty:
            if gone():
                raise RequestAbandoned from None


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

    def states(self) -> dict[str, EngineState]:
        """What each model that was needed so far is doing, by its id."""
        with self._lock:
            clients = dict(self._clients)
        return {model_id: client.state for model_id, client in clients.items()}

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
            provider=settings.provider,
        )
