"""A WSGI application for an ASGI server: what stands between the two, and no more."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})


class Bridge:
    """Calls a WSGI application for requests of an ASGI server. threads: requests at a time."""

    def __init__(self, app: Any, threads: int) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads, "localphi-request")

    async def answer(self, request: Request) -> Response:
        """What the application says. When the client leaves, its answer is closed."""
        loop = asyncio.get_running_loop()
        gone = threading.Event()
        environ = environ_of(request, await request.body())
        environ |= {"waitress.client_disconnected": gone.is_set}  # what the application asks
        started: list[Any] = []

        def begin() -> Iterable[bytes]:
            pieces: Iterable[bytes] = self._app(
                environ, lambda status, headers, *_: started.extend((status, headers))
            )
            return pieces

        task = loop.run_in_executor(self._threads, begin)
        try:
            pieces = await asyncio.shield(task)
        except asyncio.CancelledError:
            gone.set()
            task.add_done_callback(_close_when_done)
            raise
        status, headers = started
        body = self._pieces(pieces, gone)
        response = StreamingResponse(body, int(status.split(" ", 1)[0]))
        response.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
            if name.lower() not in _HOP_BY_HOP
        ]
        return response

    async def _pieces(self, pieces: Iterable[bytes], gone: threading.Event) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        iterator: Iterator[bytes] = iter(pieces)
        try:
            while (piece := await loop.run_in_executor(self._threads, next, iterator, None)) is not None:
                if piece:
                    yield piece
        finally:
            gone.set()
            self._threads.submit(_close, pieces)


def _close_when_done(task: asyncio.Future[Iterable[bytes]]) -> None:
    if task.exception() is None:
        _close(task.result())


def _close(pieces: Any) -> None:
    if hasattr(pieces, "close"):
        pieces.close()


def environ_of(request: Request, body: bytes) -> dict[str, Any]:
    """The request as PEP 3333 has it."""
    scope = request.scope
    client = scope.get("client") or ("", 0)
    server = scope.get("server") or ("", 0)
    found: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": str(client[0]),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            found[key] = value.decode("latin-1")
        elif key != "CONTENT_LENGTH":
            found[f"HTTP_{key}"] = value.decode("latin-1")
    return found
