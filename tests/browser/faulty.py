"""A server between browser and localphi that makes the way of model files as bad as a test wants it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

WEIGHTS = "model.onnx.data"
_PIECE = 16 * 1024
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-encoding", "content-length", "date", "server"}


@dataclass
class Faults:
    """What happens to the weights on their way. Everything else passes."""

    bytes_per_s: float = float("inf")
    cut_after: float = float("inf")  # bytes of weights in all; every connection is cut there, once
    stall_after: float = float("inf")  # likewise, but the connection stays open and says nothing
    flips: dict[int, int] = field(default_factory=dict)  # offset in the file: how often it arrives flipped
    gone: bool = False  # for everything: connections are closed without an answer
    sent: int = 0  # bytes of weights that left
    ranges: list[str] = field(default_factory=list)  # asked for, of the weights


@dataclass(frozen=True)
class FaultyServer:
    url: str
    faults: Faults


@contextmanager
def faulty(upstream: str) -> Iterator[FaultyServer]:
    """Serve what `upstream` serves, on another port."""
    faults, turn = Faults(), threading.Lock()

    class Handler(_Handler):
        pass

    Handler.upstream, Handler.faults, Handler.turn = upstream, faults, turn
    with httpx.Client(base_url=upstream, timeout=60, trust_env=False) as client:
        Handler.client = client
        server = _Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield FaultyServer(f"http://127.0.0.1:{server.server_port}", faults)
        finally:
            faults.gone = True
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers leave in the middle of answers here; that is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str
    faults: Faults
    turn: threading.Lock
    client: httpx.Client

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._pass_on(b"")

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _pass_on(self, body: bytes) -> None:
        if self.faults.gone:
            self._hang_up()
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
        answer = self.client.request(self.command, self.path, headers=headers, content=body)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if WEIGHTS in self.path and answer.status_code in (200, 206):
            self.faults.ranges.append(self.headers.get("Range", ""))
            self._send_weights(answer)
        else:
            self.wfile.write(answer.content)

    def _send_weights(self, answer: httpx.Response) -> None:
        found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        start, data = int(found[1]) if found else 0, bytearray(answer.content)
        for offset in [offset for offset in self.faults.flips if start <= offset < start + len(data)]:
            if self.faults.flips[offset] > 0:
                self.faults.flips[offset] -= 1
                data[offset - start] ^= 1
        for at in range(0, len(data), _PIECE):
            piece = bytes(data[at : at + _PIECE])
            with self.turn:  # all connections share the line
                time.sleep(len(piece) / self.faults.bytes_per_s)
                if self.faults.gone or self.faults.sent >= self.faults.cut_after:
                    self._hang_up()
                    return
                stalled = self.faults.sent >= self.faults.stall_after
                if not stalled:
                    self.wfile.write(piece)
                    self.faults.sent += len(piece)
            if stalled:
                while not self.faults.gone and self.faults.sent >= self.faults.stall_after:
                    time.sleep(0.05)
                self._hang_up()
                return

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
