"""The server's side of the engine: submit a request, iterate over its answer.

    with engines.get("localphi-demo").submit(request) as answer:  # raises what is known by then
        for item in answer:  # Chunk…, CallStarted, CallArguments…, Finished
            ...

Any thread may submit. Closing an answer, finished or not, frees its place; an unfinished one is cancelled.

Models are loaded when they are first asked for, and stay until they are idle for long or another one needs
their memory: the least recently used goes first, never one that has requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from localphi.chat import ChatRequest
from localphi.config import Settings
from localphi.engine.base import Encode, Encoded, WorkerSpec
from localphi.engine.far import FarEngine, PlaceCounts, ReplicaCounts
from localphi.engine.memory import default_budget_bytes, estimated_bytes, resident_bytes
from localphi.engine.queueing import Places
from localphi.engine.scheduler import EngineClient, EngineState
from localphi.engine.ticket import Answer, Gone, Watcher
from localphi.errors import EngineStopping, MemoryInUse, ModelInUse, ModelTooLarge
from localphi.models.store import ModelFolder, ModelStore

__all__ = ["Answer", "Engine", "EngineClient", "EngineReport", "EngineState", "Engines", "Gone", "Watcher"]

_KV_CACHES_KEPT = 8  # beside those of answers at work, as kvcache.MAX_KEPT; numpy is not imported here
_MEMORY_RETRY_AFTER_S = 5


def _never() -> bool:
    return False


class Engine(Protocol):
    """A model of the server: an EngineClient, or one whose answers are computed elsewhere."""

    spec: WorkerSpec

    @property
    def worker_pid(self) -> int | None: ...

    @property
    def held(self) -> int: ...

    @property
    def in_memory(self) -> bool: ...

    @property
    def idle_s(self) -> float | None: ...

    @property
    def state(self) -> EngineState: ...

    def start(self) -> None: ...

    def submit(self, request: ChatRequest, gone: Gone = _never, client: str = "") -> Answer: ...

    def encode(self, asked: Encode, gone: Gone = _never) -> Encoded: ...

    def decode(self, ids: Sequence[int], gone: Gone = _never) -> str: ...

    def unload(self) -> None: ...

    def close(self) -> None: ...


MakeEngine = Callable[[ModelFolder, Places], Engine]


@dataclass(frozen=True)
class EngineReport:
    """A model, for people. memory_bytes: measured now, None without a worker; estimated_bytes: at the most.

    idle_s: None while it has requests. unloads_in_s: None where it has none or stays.
    """

    model: str
    backend: str
    state: EngineState
    memory_bytes: int | None
    estimated_bytes: int
    idle_s: float | None
    unloads_in_s: float | None


@dataclass(frozen=True)
class _Model:
    engine: Engine
    needed_bytes: int


class Engines:
    """The models of one server, by id. elsewhere: makes the engines of models that others compute."""

    def __init__(self, store: ModelStore, settings: Settings, elsewhere: MakeEngine | None = None) -> None:
        self._elsewhere = elsewhere
        self._store = store
        self._settings = settings
        self._places = Places(settings.max_requests)
        self._lock = threading.RLock()  # Ctrl-C may close it in the middle of a start
        self._making_room = threading.RLock()
        self._models: dict[str, _Model] = {}
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None
        self._on_close: list[Callable[[], object]] = []

    def on_close(self, action: Callable[[], object]) -> None:
        """Something to be ended with the engines."""
        self._on_close.append(action)

    @property
    def memory_budget_bytes(self) -> int:
        return self._settings.memory_budget_bytes or default_budget_bytes()

    def get(self, model_id: str) -> Engine:
        """The engine of a model of the store. Raises ModelNotFound."""
        with self._lock:
            if self._closed.is_set():
                raise EngineStopping
            if model_id not in self._models:
                self._models[model_id] = self._model(self._store.get(model_id))
            return self._models[model_id].engine

    def states(self) -> dict[str, EngineState]:
        """What each model that was needed so far is doing, by its id."""
        return {model_id: model.engine.state for model_id, model in self._known().items()}

    def places(self) -> dict[str, dict[str, PlaceCounts]]:
        """Of models that are computed elsewhere: who has done what."""
        return {model_id: engine.places() for model_id, engine in self._far().items()}

    def replicas(self) -> list[ReplicaCounts]:
        """What the replicas of such models say of themselves."""
        return [counts for engine in self._far().values() for counts in engine.replicas()]

    def _far(self) -> dict[str, FarEngine]:
        engines = {model_id: model.engine for model_id, model in self._known().items()}
        return {name: engine for name, engine in engines.items() if isinstance(engine, FarEngine)}

    def reports(self) -> list[EngineReport]:
        """The models that are loaded, or failed; the most recently used first."""
        reports = [self._report(model) for model in self._known().values()]
        reports = [report for report in reports if report.state.status != "idle"]
        return sorted(reports, key=lambda report: report.idle_s or 0.0)

    def report(self, model_id: str) -> EngineReport:
        """One model, whatever it does. Raises ModelNotFound."""
        self.get(model_id)
        return self._report(self._known()[model_id])

    def check_size(self, model_id: str) -> None:
        """Raises ModelTooLarge for a model beyond the budget that was set."""
        self.get(model_id)
        self._check_size(model_id, self._known()[model_id].needed_bytes)

    def start_default(self) -> None:
        """Begin loading the model that answers when none is named."""
        self.get(self._store.default().id).start()

    def close(self) -> None:
        """End every worker. May be called twice."""
        with self._lock:
            self._closed.set()
            models = list(self._models.values())
            self._models.clear()
            actions, self._on_close = self._on_close, []
        for model in models:
            model.engine.close()
        for action in actions:
            action()

    def _known(self) -> dict[str, _Model]:
        with self._lock:
            return dict(self._models)

    def _model(self, folder: ModelFolder) -> _Model:
        if self._elsewhere is not None:
            return _Model(self._elsewhere(folder, self._places), 0)
        spec = self._spec(folder)
        sequences = spec.max_active + _KV_CACHES_KEPT
        needed_bytes = estimated_bytes(folder.manifest, spec.kv_budget_bytes, sequences)
        variant = folder.manifest.server_variant
        if variant is not None and variant.paged and spec.backend == "auto":
            twice = estimated_bytes(folder.manifest, spec.kv_budget_bytes, sequences, graphs=2)
            if twice <= self.memory_budget_bytes:
                spec, needed_bytes = replace(spec, roomy=True), twice
        engine = EngineClient(spec, self._places, lambda: self._room_for(folder.id, needed_bytes))
        return _Model(engine, needed_bytes)

    def _report(self, model: _Model) -> EngineReport:
        engine = model.engine
        state, idle_s = engine.state, engine.idle_s
        unloads_in_s = None
        if idle_s is not None and self._settings.idle_unload_s and state.status in ("loading", "loaded"):
            unloads_in_s = max(0.0, self._settings.idle_unload_s - idle_s)
        memory_bytes = resident_bytes(engine.worker_pid)
        spec = engine.spec
        backend = spec.backend if spec.where == "local" else spec.where
        return EngineReport(
            spec.model, backend, state, memory_bytes, model.needed_bytes, idle_s, unloads_in_s
        )

    @contextmanager
    def _room_for(self, model_id: str, needed_bytes: int) -> Iterator[None]:
        """While a model is started: nobody else takes the memory that was made free for it."""
        with self._making_room:
            self._make_room(model_id, needed_bytes)
            yield
            if self._settings.idle_unload_s and self._watch is None:
                self._watch = threading.Thread(target=self._unload_idle, name="localphi-idle", daemon=True)
                self._watch.start()

    def _make_room(self, model_id: str, needed_bytes: int) -> None:
        """Unload others until it fits.

        Raises MemoryInUse when those at work leave too little, and ModelTooLarge for a model beyond the
        budget that was set. Where none was set, a large one may still have the machine for itself.
        """
        self._check_size(model_id, needed_bytes)
        budget_bytes = self.memory_budget_bytes
        others = {name: model for name, model in self._known().items() if name != model_id}
        while others := {name: model for name, model in others.items() if model.engine.in_memory}:
            if needed_bytes + sum(model.needed_bytes for model in others.values()) <= budget_bytes:
                return
            idle = {name: idle_s for name in others if (idle_s := others[name].engine.idle_s) is not None}
            if not idle:
                raise MemoryInUse(model_id, needed_bytes, tuple(sorted(others)), _MEMORY_RETRY_AFTER_S)
            oldest = max(idle, key=idle.__getitem__)
            with suppress(ModelInUse):  # somebody wants it since we asked
                others[oldest].engine.unload()

    def _check_size(self, model_id: str, needed_bytes: int) -> None:
        budget_bytes = self._settings.memory_budget_bytes
        if budget_bytes is not None and needed_bytes > budget_bytes:
            raise ModelTooLarge(model_id, needed_bytes, budget_bytes)

    def _unload_idle(self) -> None:
        limit_s = self._settings.idle_unload_s
        while not self._closed.wait(min(limit_s / 4, 10.0)):
            for model in self._known().values():
                idle_s = model.engine.idle_s
                if model.engine.in_memory and idle_s is not None and idle_s >= limit_s:
                    with suppress(ModelInUse):
                        model.engine.unload()

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
            home=settings.home,
        )
