"""Streams that outlive their connection: a client that lost it fetches the rest of its answer.

Only who asks for it gets one (`X-Stream-Resumable: 1`); else a client that leaves cancels its answer at once.
A resumable stream is written by a thread of its own into a ring of numbered events, and whoever knows its id
reads from there. Without a reader the answer goes on for a while, then it is cancelled; what there was stays
for some minutes. Until it ends, an answer holds its place in the queue. Ids are unguessable, and nothing
lists them: an id is the right to read.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from localphi.engine.client import Gone
from localphi.errors import LocalphiError, RequestAbandoned, StreamNotFound, StreamTrimmed
from localphi.routes import sse
from localphi.routes.answers import KEEPALIVE_S
from localphi.routes.openai_errors import error_object

_POLL_S = 0.5


@dataclass(frozen=True)
class Limits:
    """grace_s: how long an answer goes on without a reader. ttl_s: how long its events stay after its end.

    ring_bytes: of one stream; the oldest events go first. total_bytes, streams: of all together, looked at
    when one begins and when one ends; of those that are over, the first to begin is the first to go.
    """

    grace_s: float = 30.0
    ttl_s: float = 300.0
    ring_bytes: int = 2 * 1024**2
    total_bytes: int = 64 * 1024**2
    streams: int = 64


LIMITS = Limits()


class Stream:
    """The events of one answer, numbered from 1. It begins with a reader: the client that asked."""

    FIRST_READER = 1

    def __init__(self, limits: Limits) -> None:
        self.id = secrets.token_urlsafe(24)
        self._limits = limits
        self._changed = threading.Condition()
        self._events: deque[bytes] = deque()
        self._first = 1  # number of the oldest event that is held
        self._bytes = 0
        self._over = self._forgotten = self._given_up = False
        self._readers = self.FIRST_READER
        self._unread_since: float | None = None

    @property
    def over(self) -> bool:
        return self._over

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def unwanted(self) -> bool:
        """Whether the answer should end: it was cancelled, or has had no reader for too long."""
        since = self._unread_since
        if since is not None and time.monotonic() - since > self._limits.grace_s:
            self._given_up = True
        return self._forgotten or self._given_up

    def append(self, event: bytes) -> None:
        with self._changed:
            if self._forgotten:
                return
            self._events.append(event)
            self._bytes += len(event)
            while self._bytes > self._limits.ring_bytes:
                self._bytes -= len(self._events.popleft())
                self._first += 1
            self._changed.notify_all()

    def end(self) -> None:
        """No event will follow, but for one that says so where the answer was given up."""
        if self._given_up:
            self.append(sse.data(error_object(RequestAbandoned())))
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def forget(self) -> None:
        """Cancel the answer, if it is at work, and send readers away."""
        with self._changed:
            self._over = self._forgotten = True
            self._events.clear()
            self._bytes = 0
            self._changed.notify_all()

    def outlive(self) -> None:
        """Returns when the events have been kept for long enough, or were forgotten before."""
        with self._changed:
            self._changed.wait_for(lambda: self._forgotten, self._limits.ttl_s)

    def attach(self, start: int) -> int:
        """Become the reader, in place of another; its number. Give it to read() and detach().

        start: number of the first event that is wanted. Raises StreamTrimmed when that has gone.
        """
        with self._changed:
            if start < self._first:
                raise StreamTrimmed(start, self._first)
            self._readers += 1
            self._unread_since = None
            self._changed.notify_all()
            return self._readers

    def detach(self, reader: int) -> None:
        """The reader has left. Nothing happens when another has taken its place."""
        with self._changed:
            if reader == self._readers:
                self._unread_since = time.monotonic()

    @property
    def next_number(self) -> int:
        """Of the event that will come next."""
        return self._first + len(self._events)

    def read(self, reader: int, start: int, gone: Gone) -> Iterator[bytes]:
        """The events from number `start` to the last, as they come, with comments while there are none.

        Ends early when `gone` says so, or another reader has come. The first comment goes out at once.
        """
        yield sse.KEEPALIVE
        spoke_s = time.monotonic()
        while (came := self._wait(reader, start)) is not None:
            if isinstance(came, StreamTrimmed):
                yield sse.data(error_object(came))
                return
            for event in came:
                yield sse.numbered(start, event)
                start += 1
            if gone():
                return
            if came:
                spoke_s = time.monotonic()
            elif time.monotonic() - spoke_s >= KEEPALIVE_S:
                spoke_s = time.monotonic()
                yield sse.KEEPALIVE

    def _wait(self, reader: int, start: int) -> Sequence[bytes] | StreamTrimmed | None:
        """The events from `start`, none after a while of silence; None when no more are for this reader."""

        def something() -> bool:
            return self._over or reader != self._readers or self.next_number > start

        with self._changed:
            self._changed.wait_for(something, _POLL_S)
            if self._forgotten or reader != self._readers:
                return None
            if start < self._first:
                return StreamTrimmed(start, self._first)
            events = tuple(self._events)[start - self._first :]
            return None if self._over and not events else events


class Streams:
    """All resumable streams of one server."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or LIMITS
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}  # in the order in which they began

    def open(self, events: Callable[[Gone], Iterator[bytes]], close: Callable[[], None]) -> Stream:
        """Begin a stream. events: writes the answer until its end, or until it is unwanted.

        close: frees the answer; called when the stream is over, and when it cannot be begun.
        """
        stream = Stream(self._limits)
        with self._lock:
            self._streams[stream.id] = stream
        job = (stream, events(stream.unwanted), close)
        writer = threading.Thread(target=self._write, args=job, name="localphi-stream", daemon=True)
        try:
            self._make_room()
            writer.start()
        except BaseException:
            close()
            self._drop(stream)
            raise
        return stream

    def find(self, stream_id: str) -> Stream:
        """Raises StreamNotFound, also for one that has been forgotten."""
        stream = self._streams.get(stream_id)
        if stream is None:
            raise StreamNotFound
        return stream

    def cancel(self, stream_id: str) -> None:
        """End the answer if it is at work, and forget it. Raises StreamNotFound."""
        self._drop(self.find(stream_id))

    def _write(self, stream: Stream, events: Iterator[bytes], close: Callable[[], None]) -> None:
        try:
            for event in events:
                if not event.startswith(b":"):  # readers are kept alive by comments of their own
                    stream.append(event)
        except LocalphiError as error:
            stream.append(sse.data(error_object(error)))
        finally:
            close()
            stream.end()
        self._make_room()
        stream.outlive()
        self._drop(stream)

    def _make_room(self) -> None:
        """Forget streams that are over, the oldest first, until the others fit."""
        with self._lock:
            streams = list(self._streams.values())
        number, size = len(streams), sum(stream.held_bytes for stream in streams)
        for stream in streams:
            if number <= self._limits.streams and size <= self._limits.total_bytes:
                return
            if stream.over:
                number, size = number - 1, size - stream.held_bytes
                self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        with self._lock:
            self._streams.pop(stream.id, None)
        stream.forget()
