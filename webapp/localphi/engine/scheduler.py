"""One model in the server process: who waits for its worker, who is in it, and what if it dies.

    submit → the client's line in the queue → worker (at most `max_active` and a few more) → events → answer

A worker takes the next request as soon as one is over, so it never idles while somebody waits. What waits is
checked at once, so that a bad request need not wait for its error. When the worker dies, another one is
started and told what the answers have said already; they go on from there.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from localphi.chat import ChatRequest
from localphi.engine.base import (
    Ask,
    Cancel,
    Check,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Event,
    Failed,
    FromWorker,
    Question,
    Reply,
    Status,
    Submit,
    WorkerSpec,
)
from localphi.engine.process import WorkerProcess
from localphi.engine.queueing import FairQueue, Places
from localphi.engine.restarts import MAX_DEATHS, Restarts
from localphi.engine.ticket import Answer, Gone, Ticket, admitted, first_event
from localphi.errors import (
    EngineFailed,
    EngineStopping,
    LocalphiError,
    ModelInUse,
    WorkerDied,
    WorkerKeepsDying,
)

LOOK_AHEAD = 2  # requests in the worker beyond those it works on: the next one is there when one ends

Room = Callable[[], AbstractContextManager[None]]
"""Makes room in memory for the model, or raises; nothing else is loaded until the block ends."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class EngineState:
    """What a model is doing. held: requests it has; active: those of them that it works on now.

    status: idle until it is first needed, and once it was unloaded. failure: what ended its worker, None
    unless the status is failed. restarts: workers started because one had died; loads and unloads: how often.
    kv_used: part of the KV pool that answers at work were promised, None where nobody tells.
    """

    status: Literal["idle", "loading", "loaded", "failed"]
    held: int = 0
    active: int = 0
    failure: LocalphiError | None = None
    restarts: int = field(default=0, compare=False)
    loads: int = field(default=0, compare=False)
    unloads: int = field(default=0, compare=False)
    kv_used: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class _Asked:
    """A question about texts, and where the reply will arrive."""

    question: Question
    events: queue.SimpleQueue[Event]


class EngineClient:
    """One model: starts its worker when it is first needed, and again after the worker has died."""

    def __init__(self, spec: WorkerSpec, places: Places, room: Room = nullcontext) -> None:
        self.spec = spec
        self._places = places
        self._room = room
        self._slots = spec.max_active + LOOK_AHEAD
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()  # of everything below; Ctrl-C may close it in the middle of a start
        self._process: WorkerProcess | None = None
        self._active: int | None = None  # None until the model is loaded
        self._kv_used: float | None = None
        self._queue: FairQueue[Ticket] = FairQueue()
        self._working: dict[int, Ticket] = {}
        self._asked: dict[int, _Asked] = {}
        self._restarts = Restarts()
        self._restarting = False
        self._failure: LocalphiError | None = None
        self._stopping = threading.Event()
        self._used_s = time.monotonic()
        self._counts: Counter[str] = Counter()

    # What others may see

    @property
    def worker_pid(self) -> int | None:
        process = self._process
        return process.pid if process else None

    @property
    def held(self) -> int:
        """Requests the model holds now, running and waiting."""
        with self._lock:
            return self._held

    @property
    def in_memory(self) -> bool:
        """Whether it has a worker, or is about to."""
        return self._process is not None or self._restarting

    @property
    def idle_s(self) -> float | None:
        """Since when nobody has wanted anything of it; None while somebody does."""
        with self._lock:
            return None if self._wanted else time.monotonic() - self._used_s

    @property
    def state(self) -> EngineState:
        with self._lock:
            counts = (self._counts["restarts"], self._counts["loads"], self._counts["unloads"])
            if self._failure is not None:
                return EngineState("failed", self._held, 0, self._failure, *counts)
            if not self.in_memory:
                return EngineState("idle", self._held, 0, None, *counts)
            status: Literal["loading", "loaded"] = "loading" if self._active is None else "loaded"
            return EngineState(status, self._held, self._active or 0, None, *counts, kv_used=self._kv_used)

    # What callers want of it

    def start(self) -> None:
        """Begin loading the model, without waiting for it. Raises what keeps it from being started."""
        self._ensure_worker()

    def submit(self, request: ChatRequest, gone: Gone = _never, client: str = "") -> Answer:
        """Wait until the request is admitted; it may then still wait for its turn.

        gone: asked now and then whether nobody waits any more; then RequestAbandoned is raised.
        client: takes turns with other clients; a name that only tells them apart.
        Raises EngineBusy, InvalidRequest, or what keeps the model from loading.
        """
        ticket = Ticket(next(self._numbers), request, self._places.take(client))

        def begin() -> None:
            with self._lock:
                self._queue.put(client, ticket)
            self._ensure_worker()

        return admitted(ticket, begin, self._release, gone)

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

    def unload(self) -> None:
        """Free the model's memory until it is needed again. Raises ModelInUse when it has requests."""
        with self._lock:
            if self._wanted:
                raise ModelInUse(self.spec.model, max(1, self._held))
            process, self._process, self._failure = self._process, None, None
            self._counts["unloads"] += process is not None
        if process is not None:
            process.close()

    def close(self) -> None:
        """End the worker for good. Answers at work, and requests to come, get EngineStopping."""
        self._stopping.set()
        with self._lock:
            process, self._process = self._process, None
            self._fail_all(EngineStopping())
        if process is not None:
            process.close()

    def _reply(self, question: Question, gone: Gone) -> Reply:
        try:
            return self._ask(question, gone)
        except WorkerDied:
            return self._ask(question, gone)

    def _ask(self, question: Question, gone: Gone) -> Reply:
        number = next(self._numbers)
        asked = _Asked(question, queue.SimpleQueue())
        with self._lock:
            self._asked[number] = asked
            if self._process is not None:
                self._process.send(Ask(number, question))
        try:
            self._ensure_worker()
            reply = first_event(asked.events, gone)
        finally:
            with self._lock:
                self._asked.pop(number, None)
                self._used_s = time.monotonic()
        if isinstance(reply, Failed):
            raise reply.error
        if isinstance(reply, Encoded | Decoded):
            return reply
        raise EngineFailed("The worker answered where it should have replied.")

    def _release(self, ticket: Ticket) -> None:
        """Nobody wants anything of this request any more. May be called twice."""
        ticket.place.give_back()
        with self._lock:
            self._queue.remove(ticket.place.client, ticket)
            if self._working.pop(ticket.number, None) and self._process is not None:
                self._process.send(Cancel(ticket.number))
                self._fill()
            self._used_s = time.monotonic()

    # The worker, and what it says

    def _ensure_worker(self) -> None:
        """Start a worker unless there is one, and let in who may."""
        with self._lock:
            if self._admits():
                return
        with self._room(), self._lock:
            if not self._admits():
                self._launch()

    def _admits(self) -> bool:
        """Whether there is a worker, or one to come. Raises why there can be none."""
        if self._stopping.is_set():
            raise EngineStopping
        if self._process is not None:
            self._fill()
        elif not self._restarting and isinstance(self._failure, WorkerKeepsDying) and self._restarts.pause_s:
            raise self._keeps_dying(self._failure)
        return self.in_memory

    def _launch(self) -> None:
        self._failure, self._active = None, None
        self._used_s = time.monotonic()
        try:
            self._process = WorkerProcess(self.spec, self._on_message, self._on_end)
        except OSError as error:  # no more processes, or no memory for one
            message = f"The worker of model '{self.spec.model}' cannot be started: {error}."
            raise EngineFailed(message) from error
        for number, asked in self._asked.items():
            self._process.send(Ask(number, asked.question))
        for ticket in self._working.values():
            self._send(ticket)
        self._fill()

    def _fill(self) -> None:
        """Let in the next requests as long as there is room, and have the others checked."""
        if self._process is None:
            return
        at_work = Counter(ticket.place.client for ticket in self._working.values())
        while len(self._working) < self._slots:
            ticket = self._queue.pop(at_work.__getitem__)
            if ticket is None:
                return
            self._working[ticket.number] = ticket
            at_work[ticket.place.client] += 1
            self._send(ticket)
        for ticket in self._queue:
            if not ticket.checked:
                ticket.checked = True
                self._process.send(Check(ticket.number, ticket.request))

    def _send(self, ticket: Ticket) -> None:
        assert self._process is not None, "there is a worker wherever this is called"
        ticket.enter()
        self._process.send(Submit(ticket.number, ticket.request, ticket.resume))

    def _on_message(self, process: WorkerProcess, message: FromWorker) -> None:
        with self._lock:
            if process is not self._process:
                return
            if isinstance(message, Status):
                self._counts["loads"] += self._active is None
                self._active, self._kv_used = message.active, message.kv_used
                return
            for sent in message:
                if sent.request_id in self._asked:
                    self._asked[sent.request_id].events.put(sent.event)
                else:
                    self._deliver(sent.request_id, sent.event)

    def _deliver(self, number: int, event: Event) -> None:
        ticket = self._working.get(number) or self._waiting(number)
        if ticket is None or not ticket.deliver(event):
            return
        self._used_s = time.monotonic()
        self._queue.remove(ticket.place.client, ticket)
        if self._working.pop(number, None):
            self._fill()

    def _waiting(self, number: int) -> Ticket | None:
        return next((ticket for ticket in self._queue if ticket.number == number), None)

    # What if it dies

    def _on_end(self, process: WorkerProcess, error: LocalphiError) -> None:
        """Called by the thread of the process that ended; starts the next one where somebody needs it."""
        with self._lock:
            if process is not self._process:
                return  # it was unloaded or closed
            self._process = self._active = None
            delay_s = self._after(error)
        if delay_s is None:
            return
        self._stopping.wait(delay_s)
        with self._lock:
            self._restarting = False
            if self._stopping.is_set():
                return
            if not self._held:
                self._failure = error
                return
            self._counts["restarts"] += 1
            try:
                self._launch()
            except EngineFailed as failure:
                self._fail_all(failure)

    def _after(self, error: LocalphiError) -> float | None:
        """Settle who gets an error. Seconds until the next worker is started, None for not at all."""
        self._fail_questions(error)
        if not isinstance(error, WorkerDied):  # it cannot be loaded, and the next one could not either
            self._fail_all(error)
            return None
        delay_s = self._restarts.died()
        if delay_s is None:
            self._fail_all(self._keeps_dying(error))
            return None
        for ticket in list(self._working.values()):
            ticket.deaths += 1
            if ticket.deaths >= MAX_DEATHS:  # perhaps it is the one that ends them
                del self._working[ticket.number]
                ticket.deliver(Failed(error))
        for ticket in self._queue:
            ticket.checked = ticket.admitted
        self._failure = None if self._held else error
        self._restarting = bool(self._held)
        return delay_s if self._restarting else None

    def _fail_all(self, error: LocalphiError) -> None:
        """The model has ended because of `error`, and with it every request that it has."""
        self._failure = error
        tickets = [*self._working.values(), *self._queue]
        self._working.clear()
        self._queue = FairQueue()
        for ticket in tickets:
            ticket.deliver(Failed(error))
        self._fail_questions(error)

    def _fail_questions(self, error: LocalphiError) -> None:
        for asked in self._asked.values():
            asked.events.put(Failed(error))
        self._asked.clear()

    def _keeps_dying(self, died: WorkerDied) -> WorkerKeepsDying:
        return WorkerKeepsDying(self.spec.model, died.args[1], math.ceil(self._restarts.pause_s))

    @property
    def _held(self) -> int:
        return len(self._working) + len(self._queue)

    @property
    def _wanted(self) -> bool:
        return bool(self._held or self._asked)
