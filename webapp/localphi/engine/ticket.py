"""One request as the server's side sees it, from the queue to its last item, and the answer it becomes."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from localphi.chat import ChatRequest, Finished, Item
from localphi.engine.base import Admitted, Decoded, Encoded, Event, Failed
from localphi.engine.queueing import Place
from localphi.engine.told import Told
from localphi.errors import EngineFailed, LocalphiError, RequestAbandoned

_POLL_S = 0.5  # how often a waiting thread looks whether it is still wanted; Windows needs it for Ctrl-C

Gone = Callable[[], bool]
Watcher = Callable[[Item | LocalphiError | None], object]
"""Gets each item of an answer as it is taken, and what ends it early: an error, or None for a close()."""


def first_event(events: queue.SimpleQueue[Event], gone: Gone) -> Event:
    """Waits for it. Raises RequestAbandoned when nobody else does any more."""
    while True:
        try:
            return events.get(timeout=_POLL_S)
        except queue.Empty:
            if gone():
                raise RequestAbandoned from None


def admitted(
    ticket: Ticket, begin: Callable[[], object], release: Callable[[Ticket], object], gone: Gone
) -> Answer:
    """The answer of a ticket, as soon as whoever computes it has admitted its request.

    begin: asks for it. release: frees what the ticket has, also where this raises: what is wrong with the
    request, or RequestAbandoned when nobody waits any more.
    """
    try:
        begin()
        first = first_event(ticket.events, gone)
        if isinstance(first, Failed):
            raise first.error
        if not isinstance(first, Admitted):
            raise EngineFailed("The answer began before its request was admitted.")
    except BaseException:  # Ctrl-C too: the place must not stay taken
        release(ticket)
        raise
    return Answer(ticket, release, first.prompt_tokens)


class Ticket:
    """Filled by the thread that reads the worker's pipe, emptied by the one that waits for the answer.

    checked: the worker was asked, or will be, whether the request is valid. deaths: of workers that had it.
    """

    def __init__(self, number: int, request: ChatRequest, place: Place) -> None:
        self.number = number
        self.request = request
        self.place = place
        self.told = Told()
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.admitted = self.checked = False
        self.deaths = 0
        self.queued_s: float | None = None
        self._since_s = time.monotonic()

    @property
    def resume(self) -> tuple[int, ...]:
        """Tokens after which a worker goes on: those told so far, at least those of the request."""
        told, begun = self.told.ids, self.request.begun_ids
        return tuple(told) if len(told) > len(begun) else begun

    def enter(self) -> None:
        """It goes to a worker, for the first time or again."""
        self.told.begin_again()
        if self.queued_s is None:
            self.queued_s = time.monotonic() - self._since_s

    def deliver(self, event: Event) -> bool:
        """Pass on what is new; True when the request is over."""
        if isinstance(event, Admitted):
            if not self.admitted:
                self.admitted = True
                self.events.put(event)
            return False
        if isinstance(event, Failed | Encoded | Decoded):
            self.events.put(event)
            return True
        try:
            item = self.told.new_of(event)
        except EngineFailed as error:
            return self.deliver(Failed(error))
        if item is not None:
            self.events.put(item)
        return isinstance(item, Finished)


class Answer:
    """A stream of Items that ends with Finished. Use it as a context manager, or close() it."""

    def __init__(self, ticket: Ticket, release: Callable[[Ticket], object], prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self._ticket = ticket
        self._release = release
        self._watcher: Watcher = _nobody

    @property
    def queued_s(self) -> float | None:
        """How long the request waited before it went to the worker, None while it waits."""
        return self._ticket.queued_s

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` see the items that are to come, and the end."""
        self._watcher = watcher

    def next(self, timeout_s: float) -> Item | None:
        """The next item, or None when nothing came in time. Raises what ended the answer early."""
        try:
            event = self._ticket.events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(event, Admitted | Encoded | Decoded):
            raise EngineFailed("The worker sent what does not belong to an answer.")
        if isinstance(event, Failed | Finished):
            self._release(self._ticket)
            self._tell_end(event.error if isinstance(event, Failed) else event)
            if isinstance(event, Failed):
                raise event.error
            return event
        self._watcher(event)
        return event

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self.next(_POLL_S)
            if item is not None:
                yield item
            if isinstance(item, Finished):
                return

    def close(self) -> None:
        """Free the place of this answer; cancels it unless it is over. May be called twice."""
        self._release(self._ticket)
        self._tell_end(None)

    def _tell_end(self, end: Item | LocalphiError | None) -> None:
        """Only the first one counts. The watcher goes: it may know the answer, and memory would stay."""
        watcher, self._watcher = self._watcher, _nobody
        watcher(end)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nobody(_: Item | LocalphiError | None) -> None:
    return None
