"""Who may wait, and who is next: places of a server, and the queue of a model.

A server holds so many requests and refuses the others. Those it holds wait for their model's worker, where
clients take turns; a client's own requests stay in order.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from localphi.errors import EngineBusy

FIRST_RETRY_AFTER_S = 2  # before any request has told how long one takes
MAX_RETRY_AFTER_S = 60
_RESERVED = 4  # of so many places, one is kept from the client that has all the others
_NEWEST = 0.2  # weight of the newest request in the mean

T = TypeVar("T")
Clock = Callable[[], float]


class FairQueue(Generic[T]):
    """Lines of clients. Next is the client with the fewest at work; among equals they take turns."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}  # in the order of their turns; none is empty

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[T]:
        for line in self._lines.values():
            yield from line

    def put(self, client: str, item: T) -> None:
        """At the end of the client's line."""
        self._lines.setdefault(client, deque()).append(item)

    def pop(self, at_work: Callable[[str], int]) -> T | None:
        """The next item, None when nobody waits. at_work: how many of a client's are at work already."""
        if not self._lines:
            return None
        client = min(self._lines, key=at_work)  # the first of equals
        line = self._lines.pop(client)
        item = line.popleft()
        if line:
            self._lines[client] = line  # behind all the others
        return item

    def remove(self, client: str, item: T) -> None:
        """Take an item out, wherever it is; nothing happens when it is not there."""
        line = self._lines.get(client, deque())
        if item in line:
            line.remove(item)
        if not line:
            self._lines.pop(client, None)


class Place:
    """One of a server's places; give it back once the request is over."""

    def __init__(self, places: Places, client: str, since_s: float) -> None:
        self.client = client
        self.since_s = since_s
        self._places = places

    def give_back(self) -> None:
        """May be called twice."""
        self._places.give_back(self)


class Places:
    """How many requests a server may hold, over all of its models.

    A quarter of the places is kept from any one client, so that nobody can take all. That holds for clients
    with a name; in-process callers have none.
    """

    def __init__(self, limit: int, clock: Clock = time.monotonic) -> None:
        self._limit = limit
        self._share = limit - limit // _RESERVED
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: set[Place] = set()
        self._mean_s: float | None = None  # how long a place is held

    def take(self, client: str = "") -> Place:
        """Raises EngineBusy when every place is taken, or the client has its share."""
        with self._lock:
            own = sum(place.client == client for place in self._taken) if client else 0
            if len(self._taken) >= self._limit:
                raise EngineBusy(len(self._taken), self._retry_after_s())
            if own >= self._share:
                raise EngineBusy(own, self._retry_after_s(), True)
            place = Place(self, client, self._clock())
            self._taken.add(place)
            return place

    def give_back(self, place: Place) -> None:
        """A place that was given back already is passed over."""
        with self._lock:
            if place not in self._taken:
                return
            self._taken.remove(place)
            held_s = self._clock() - place.since_s
            mean_s = held_s if self._mean_s is None else self._mean_s
            self._mean_s = mean_s + _NEWEST * (held_s - mean_s)

    def _retry_after_s(self) -> int:
        """When the next place is likely to be free: they are held for the mean time each (Little's law).

        The oldest may be held longer than that, which tells of a slow model before any request has ended.
        """
        oldest_s = self._clock() - min(place.since_s for place in self._taken)
        if self._mean_s is None and oldest_s < FIRST_RETRY_AFTER_S:
            return FIRST_RETRY_AFTER_S
        held_s = max(self._mean_s or 0.0, oldest_s)
        return min(max(1, math.ceil(held_s / len(self._taken))), MAX_RETRY_AFTER_S)
