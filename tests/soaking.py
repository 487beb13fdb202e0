"""Many clients at once, some of which leave in the middle: what each got, and what the server kept."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil

TIMEOUT_S = 120
_CHAT = "/v1/chat/completions"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset instead of a farewell


@dataclass(frozen=True)
class Client:
    """One request. leaves_after: bytes of the answer after which the client goes, None to stay to the end.

    retries: whether a 429 is tried again until it is answered.
    """

    url: str
    body: dict[str, Any]
    leaves_after: int | None = None
    resets: bool = False
    retries: bool = True

    def run(self) -> str:
        """answered, refused, left; or what went wrong."""
        while True:
            try:
                got = self._ask()
            except OSError as error:
                return f"{type(error).__name__}: {error}"
            if got != "refused" or not self.retries:
                return got
            time.sleep(random.uniform(0.02, 0.1))  # the soak has no time for Retry-After

    def _ask(self) -> str:
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), TIMEOUT_S) as connection:
            connection.sendall(_post(self.body))
            answer = b""
            while self.leaves_after is None or len(answer) < self.leaves_after:
                data = connection.recv(65536)
                if not data:
                    return self._judge(answer)
                answer += data
            if self.resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return "left"

    def _judge(self, answer: bytes) -> str:
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head[9:12]
        if status == b"429":
            return "refused" if b"\r\nRetry-After: " in head else "429 without Retry-After"
        if status != b"200":
            return f"status {status.decode(errors='replace')}"
        text = _text(body, bool(self.body.get("stream")))
        return "answered" if text is not None else "cut short"


def _post(body: dict[str, Any], name: str = "soak") -> bytes:
    """name: of the program that asks; each takes turns with the others."""
    data = json.dumps(body).encode()
    head = f"POST {_CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: {name}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def _text(body: bytes, stream: bool) -> str | None:
    """The answer's text, None when it has no end."""
    if not stream:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    if b"data: [DONE]" not in body:
        return None
    lines = (line[6:] for line in body.split(b"\n") if line.startswith(b'data: {"id"'))
    deltas = (choice["delta"] for line in lines for choice in json.loads(line)["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


def soak(
    url: str,
    requests: int,
    clients: int,
    make_body: Callable[[random.Random], dict[str, Any]],
    *,
    leaving: float = 0.1,
    retries: bool = True,
) -> Counter[str]:
    """How many requests ended in which way. leaving: the share of clients that leave in the middle."""
    chance = random.Random(1)

    def make() -> Client:
        leaves = chance.random() < leaving
        after = chance.choice((0, 1, 200, 1000)) if leaves else None
        body = {**make_body(chance), "stream": chance.random() < 0.5}
        return Client(url, body, after, resets=chance.random() < 0.5, retries=retries)

    made = [make() for _ in range(requests)]
    with ThreadPoolExecutor(clients) as pool:
        return Counter(pool.map(Client.run, made))


@dataclass(frozen=True)
class Kept:
    """What a process and its children hold on to. rss_bytes: of all of them together."""

    processes: int
    zombies: int
    threads: int
    files: int
    rss_bytes: int

    @classmethod
    def by(cls, pid: int | None = None) -> Kept:
        us = psutil.Process(pid)
        family = [us, *us.children(recursive=True)]
        zombies = sum(process.status() == psutil.STATUS_ZOMBIE for process in family)
        files = us.num_fds()
        rss_bytes = sum(process.memory_info().rss for process in family)
        return cls(len(family), zombies, us.num_threads(), files, rss_bytes)


def health_times_s(url: str, seconds: float, pause_s: float = 0.01) -> list[float]:
    """How long /healthz took, one time after the other, each over a new connection."""
    parts = urlsplit(url)
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        with socket.create_connection((parts.hostname or "", parts.port or 0), TIMEOUT_S) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:80]
        times.append(time.perf_counter() - start)
        time.sleep(pause_s)
    return times


class OpenStreams:
    """Streams that are held open and read, until close()."""

    def __init__(self, url: str, bodies: Iterator[dict[str, Any]]) -> None:
        parts = urlsplit(url)
        self._sockets = []
        for number, body in enumerate(bodies):
            connection = socket.create_connection((parts.hostname or "", parts.port or 0), TIMEOUT_S)
            connection.sendall(_post({**body, "stream": True}, f"stream-{number}"))
            self._sockets.append(connection)
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._read, args=(each,)) for each in self._sockets]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until every one has begun: its first event is here."""
        for _ in self._sockets:
            assert self._begun.acquire(timeout=TIMEOUT_S)

    def close(self) -> None:
        for connection in self._sockets:
            connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._sockets:
            connection.close()

    def _read(self, connection: socket.socket) -> None:
        first = connection.recv(65536)
        assert first.startswith(b"HTTP/1.1 200"), first[:200]
        self._begun.release()
        with suppress(ConnectionResetError):  # close() leaves in the middle of an answer
            while connection.recv(65536):
                pass
