"""A model whose answers are computed elsewhere: by a server of OpenAI's API, or by replicas in a cluster.

It has the interface of `EngineClient`, so that routes, queue and metrics do not know the difference. A thread
for each answer reads a `Call`. A call that is lost before anything was told is made again, wherever there is
room; one that is lost in the middle goes on elsewhere: by its token ids, or, where a grammar or a seed makes
the answer the same each time, from its beginning, and what was told already is dropped.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from localphi.chat import ChatRequest, Chunk, Finished, Item, Progress
from localphi.engine.base import (
    Admitted,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Event,
    Failed,
    Question,
    Reply,
    WorkerSpec,
)
from localphi.engine.queueing import Places
from localphi.engine.scheduler import EngineState
from localphi.engine.ticket import Answer, Gone, Ticket, admitted
from localphi.engine.told import Told
from localphi.errors import (
    EngineFailed,
    EngineStopping,
    InvalidRequest,
    LocalphiError,
    UpstreamBusy,
    UpstreamLost,
)

MAX_LOSSES = 4  # of one answer in the middle; perhaps it is the one that ends whoever computes it
_PAUSES_S = (0.0, 0.2, 1.0, 2.0)  # before a call is made again


class Lost(Exception):
    """A call that ended too early, or never began. where: who was asked; they are asked last next time."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem


class _AllBusy(Exception):
    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


@dataclass
class PlaceCounts:
    """What one of those who compute has done. first_token_s: summed over `begun` answers."""

    active: int = 0
    begun: int = 0
    answers: int = 0
    lost: int = 0
    generated_tokens: int = 0
    cached_tokens: int = 0
    first_token_s: float = 0.0


@dataclass(frozen=True)
class ReplicaCounts:
    """What a replica says of itself, for all who ask it, since it began.

    held: requests that it has, at work or next; active: those that its worker is at. kv_used: as in
    EngineState. first_token_s: from the request to it, summed over `begun` answers. prompt_tokens,
    cached_tokens, decode_s: of those that it has completed.
    """

    replica: str
    model: str
    pid: int | None
    held: int
    active: int
    kv_used: float | None
    begun: int
    answers: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    first_token_s: float
    decode_s: float
    restarts: int
    memory_bytes: int | None


class _Places:
    """The counts of everybody, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, PlaceCounts] = {}

    def add(self, where: str, **more: float) -> None:
        with self._lock:
            counts = self._counts.setdefault(where, PlaceCounts())
            for name, number in more.items():
                setattr(counts, name, getattr(counts, name) + number)

    def all(self) -> dict[str, PlaceCounts]:
        with self._lock:
            return {name: replace(counts) for name, counts in self._counts.items()}


class _Watch:
    """Counts one call, for whoever says in Admitted that it is his."""

    def __init__(self, places: _Places) -> None:
        self._places = places
        self._where = ""
        self._since_s = time.monotonic()
        self._begun = False
        self._tokens = 0

    def see(self, event: Event) -> None:
        match event:
            case Admitted(where=where) if where and not self._where:
                self._where = where
                self._places.add(where, active=1)
            case Chunk(text=text, token_ids=ids) if self._where and (text or ids):
                self._tokens += max(1, len(ids))
                if not self._begun:
                    self._begun = True
                    self._places.add(self._where, begun=1, first_token_s=time.monotonic() - self._since_s)
            case Finished(usage=usage) if self._where:
                self._places.add(self._where, answers=1, cached_tokens=usage.cached_tokens or 0)

    def end(self, *, lost: bool, again: int) -> None:
        """again: tokens that were only told again."""
        if self._where:
            new = max(0, self._tokens - again)
            self._places.add(self._where, active=-1, lost=lost, generated_tokens=new)


class Call(Protocol):
    """An answer that somebody else computes: Admitted, its items, and Finished or Failed at the end.

    tells_ids: its chunks have the ids of their tokens, and a request may name those it begins with.
    Iterating raises Lost. close() ends it, from any thread and more than once.
    """

    tells_ids: bool

    def __iter__(self) -> Iterator[Event]: ...

    def close(self) -> None: ...


class Pool(Protocol):
    """Whoever computes the answers of one model."""

    def open(self, request: ChatRequest, lost_at: Sequence[str], full_at: Sequence[str]) -> Call | None:
        """lost_at: where the answer was lost; full_at: who is full. None where all are full.

        Raises Lost, or UpstreamUnreachable when it was lost nowhere and nobody is there.
        """
        ...

    def reply(self, question: Question) -> Reply: ...

    def replicas(self) -> Sequence[ReplicaCounts]:
        """What those who compute say of themselves; nothing where each has metrics of its own."""
        ...

    @property
    def failure(self) -> LocalphiError | None:
        """Why nobody can answer at the moment."""
        ...


class _Untold(Told):
    """Of an answer without token ids: nothing can be told again, so everything is new."""

    def __init__(self) -> None:
        super().__init__()
        self.any = False

    def new_of(self, item: Item) -> Item | None:
        self.any = self.any or not isinstance(item, Progress)
        return item


class _Job:
    """One request, and the call that it waits for at the moment."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._lock = threading.Lock()
        self._call: Call | None = None
        self.over = threading.Event()

    def hold(self, call: Call) -> None:
        with self._lock:
            self._call = call
        if self.over.is_set():
            call.close()

    def end(self) -> None:
        """May be called twice, from any thread."""
        self.over.set()
        with self._lock:
            call = self._call
        if call is not None:
            call.close()

    @property
    def begun(self) -> bool:
        """Whether something of the answer was told already."""
        told = self.ticket.told
        return bool(told.ids) or (isinstance(told, _Untold) and told.any)


class FarEngine:
    """One model. spec: its name, and for people what computes it."""

    def __init__(self, spec: WorkerSpec, places: Places, pool: Pool) -> None:
        self.spec = spec
        self._places = places
        self._pool = pool
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._jobs: dict[int, _Job] = {}
        self._stopping = threading.Event()
        self._used_s = time.monotonic()
        self._resumed = 0
        self._counts = _Places()

    def places(self) -> dict[str, PlaceCounts]:
        """What each of those who compute has done for this model."""
        return self._counts.all()

    def replicas(self) -> Sequence[ReplicaCounts]:
        """What each of those who compute says of itself, asked now."""
        return self._pool.replicas()

    @property
    def worker_pid(self) -> int | None:
        return None

    @property
    def held(self) -> int:
        return len(self._jobs)

    @property
    def in_memory(self) -> bool:
        """Not in this machine's, as far as its budget goes."""
        return False

    @property
    def idle_s(self) -> float | None:
        with self._lock:
            return None if self._jobs else time.monotonic() - self._used_s

    @property
    def state(self) -> EngineState:
        """restarts: answers that went on elsewhere."""
        failure = self._pool.failure
        held = self.held
        if failure is not None:
            return EngineState("failed", held, 0, failure, self._resumed)
        return EngineState("loaded", held, held, None, self._resumed)

    def start(self) -> None:
        """Raises why nobody can answer."""
        if (failure := self._pool.failure) is not None:
            raise failure

    def submit(self, request: ChatRequest, gone: Gone = lambda: False, client: str = "") -> Answer:
        """As EngineClient.submit; raises also what keeps all others from answering."""
        if self._stopping.is_set():
            raise EngineStopping
        ticket = Ticket(next(self._numbers), request, self._places.take(client))

        def begin() -> None:
            job = _Job(ticket)
            with self._lock:
                self._jobs[ticket.number] = job
            name = f"localphi-far-{ticket.number}"
            threading.Thread(target=self._work, args=(job,), name=name, daemon=True).start()

        return admitted(ticket, begin, self._release, gone)

    def encode(self, asked: Encode, gone: Gone = lambda: False) -> Encoded:
        reply = self._pool.reply(asked)
        if not isinstance(reply, Encoded):
            raise EngineFailed("Another question was replied to.")
        return reply

    def decode(self, ids: Sequence[int], gone: Gone = lambda: False) -> str:
        reply = self._pool.reply(Decode(tuple(ids)))
        if not isinstance(reply, Decoded):
            raise EngineFailed("Another question was replied to.")
        return reply.text

    def unload(self) -> None:
        raise InvalidRequest(f"The model '{self.spec.model}' is computed elsewhere; free its memory there.")

    def close(self) -> None:
        self._stopping.set()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.ticket.deliver(Failed(EngineStopping()))
            job.end()

    def _release(self, ticket: Ticket) -> None:
        ticket.place.give_back()
        with self._lock:
            job = self._jobs.pop(ticket.number, None)
            self._used_s = time.monotonic()
        if job is not None:
            job.end()

    def _work(self, job: _Job) -> None:
        """The whole of one answer, in a thread of its own."""
        try:
            self._answer(job)
        except _AllBusy as busy:
            job.ticket.deliver(Failed(UpstreamBusy(busy.retry_after_s)))
        except LocalphiError as error:
            job.ticket.deliver(Failed(error))
        except Exception as error:  # whatever a library says; nobody else would tell the client
            job.ticket.deliver(Failed(EngineFailed(f"The answer failed: {type(error).__name__}.")))

    def _answer(self, job: _Job) -> None:
        lost_at: list[str] = []
        full: list[UpstreamBusy] = []
        while not job.over.is_set():
            job.ticket.enter()
            try:
                if self._read(job, lost_at, full):
                    return
            except UpstreamBusy as busy:
                full.append(busy)
            except Lost as lost:
                if job.over.is_set():
                    return
                full.clear()
                lost_at.append(lost.where)
                self._check_again(job, lost, len(lost_at))
                job.over.wait(_PAUSES_S[min(len(lost_at), len(_PAUSES_S)) - 1])

    def _read(self, job: _Job, lost_at: Sequence[str], full: Sequence[UpstreamBusy]) -> bool:
        """Pass one call on; True when the answer is over. Raises Lost, or UpstreamBusy of the one asked."""
        ticket = job.ticket
        begun = ticket.resume if may_begin(ticket.request) else ()
        request = replace(ticket.request, begun_ids=begun)
        call = self._pool.open(request, lost_at, [busy.where for busy in full])
        if call is None:
            if job.begun:
                raise Lost("", "all others are busy")
            raise _AllBusy(min(busy.retry_after_s for busy in full))
        if not call.tells_ids and not isinstance(ticket.told, _Untold):
            if ticket.told.ids:
                call.close()
                raise UpstreamLost("The answer broke off, and nobody is left who could go on with it.")
            ticket.told = _Untold()
        job.hold(call)
        watch = _Watch(self._counts)
        lost = True
        try:
            for event in call:
                watch.see(event)
                if job.over.is_set() or ticket.deliver(event):
                    lost = False
                    return True
        finally:
            call.close()
            watch.end(lost=lost and not job.over.is_set(), again=len(begun))
        raise Lost("", "the answer has no end")

    def _check_again(self, job: _Job, lost: Lost, losses: int) -> None:
        """Raises UpstreamLost where the answer cannot go on elsewhere."""
        ticket = job.ticket
        if job.begun and (isinstance(ticket.told, _Untold) or not goes_on(ticket.request)):
            raise UpstreamLost(f"The answer broke off: {lost.problem}. Ask again.")
        if losses >= MAX_LOSSES:
            raise UpstreamLost(f"The answer was lost {losses} times, the last time because {lost.problem}.")
        self._resumed += job.begun


def may_begin(request: ChatRequest) -> bool:
    """Whether an answer to it may begin with given tokens: nothing must have seen its beginning."""
    held = request.tools or request.answer_format or request.top_logprobs is not None
    return not held and request.sampling.seed is None


def goes_on(request: ChatRequest) -> bool:
    """Whether its answer can go on elsewhere: with its tokens, or because it would be the same again."""
    return may_begin(request) or request.sampling.temperature == 0 or request.sampling.seed is not None


class Busy:
    """How many calls are at work with somebody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.number = 0

    def enter(self) -> Callable[[], None]:
        """A call begins; call the result when it is over, once or more often."""
        with self._lock:
            self.number += 1
        left = threading.Event()

        def leave() -> None:
            with self._lock:
                if not left.is_set():
                    left.set()
                    self.number -= 1

        return leave
