"""A Phi without a server: the model belongs to this program, and nothing listens at any address.

    with InProcessClient("path/of/a/model") as client:
        agent = ChatCompletionAgent(service=PhiChatCompletion(client=client))

What answers is the server's own application, asked without a socket: the same checks, tools, grammar and
errors as over HTTP. The model computes in a process of its own, so an answer never holds up the event loop.
"""

from __future__ import annotations

import _thread
import asyncio
import secrets
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from wsgiref.types import WSGIApplication, WSGIEnvironment

import httpx

from localphi import create_app
from localphi.config import Settings
from localphi.errors import LocalphiError
from localphi_agents.client import LocalphiClient
from localphi_agents.errors import ModelUnavailable

_URL = "http://localhost"
_Head = tuple[int, list[tuple[str, str]]]
_Write = Callable[[bytes], object]


class InProcessClient(LocalphiClient):
    """model: a folder, or an id of the model store; None for the store's default, the demo model.

    settings: everything else that `localphi serve` can be told. Loading begins at once; the first answer
    waits for it. Raises ModelUnavailable. Close it, or leave its block, to end the model's process; else it
    ends with this one.
    """

    def __init__(self, model: str | Path | None = None, *, settings: Settings | None = None) -> None:
        key = secrets.token_urlsafe(24)  # where the store has access keys, this client needs one, too
        try:
            given = settings or Settings.from_environment()
            ours = replace(given, model=given.model if model is None else str(model), api_keys=key)
            app = create_app(ours)
            self._engines = app.extensions["localphi"]
            self.close = weakref.finalize(self, self._engines.close)
            self._engines.start_default()
        except (LocalphiError, ValueError) as error:
            raise ModelUnavailable(str(error)) from error
        super().__init__(_URL, api_key=key, transport=_WsgiTransport(app))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _WsgiTransport(httpx.AsyncBaseTransport):
    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(self._app, _environ(request, await request.aread()))
        try:
            status, headers = await exchange.begin()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(status, headers=headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request: a thread asks the application, the event loop reads what it says.

    The thread learns that nobody listens any more by the question that waitress answers for it elsewhere.
    """

    def __init__(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        self._app = app
        self._left = False
        self._environ = environ | {"waitress.client_disconnected": lambda: self._left}
        self._loop = asyncio.get_running_loop()
        self._head: asyncio.Future[_Head] = self._loop.create_future()
        self._body: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()

    async def begin(self) -> _Head:
        """Status and headers, as soon as the application has said them."""
        # Not Thread.start: that waits until the new thread has run, and one that computes keeps Python's lock
        # for up to 5 ms (sys.getswitchinterval). Eight requests at once held up the loop for some 40 ms.
        _thread.start_new_thread(self._ask, ())
        return await self._head

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._body.get()) is not None:
            if isinstance(piece, BaseException):
                raise httpx.ReadError(f"the answer failed: {piece}") from piece
            yield piece

    async def aclose(self) -> None:
        self._left = True

    def _ask(self) -> None:
        said: list[_Head] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> _Write:
            said[:] = [(int(status.split(" ", 1)[0]), headers)]
            return lambda piece: self._tell(self._body.put_nowait, piece)

        end: BaseException | None = None
        try:
            pieces = self._app(self._environ, start_response)
            try:
                self._pass_on(pieces, said)
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except BaseException as error:  # the other side waits for a word, whatever happened
            end = error
        self._tell(self._over, end)

    def _pass_on(self, pieces: Iterable[bytes], said: list[_Head]) -> None:
        """An application need not say its head before its first piece."""
        for piece in chain((b"",), pieces):
            if self._left:
                return
            if said:
                self._tell(self._answered, said[0])
            if piece:
                self._tell(self._body.put_nowait, piece)

    def _answered(self, head: _Head) -> None:
        if not self._head.done():  # told before, or nobody waits any more
            self._head.set_result(head)

    def _over(self, error: BaseException | None) -> None:
        if error is not None and not self._head.done():
            self._head.set_exception(httpx.ReadError(f"the request failed: {error}"))
        self._body.put_nowait(error)

    def _tell(self, call: Callable[[Any], object], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:  # the loop has been closed
            self._left = True


def _environ(request: httpx.Request, body: bytes) -> WSGIEnvironment:
    headers = {
        "HTTP_" + name.upper().replace("-", "_"): value
        for name, value in request.headers.items()
        if name not in ("content-type", "content-length")
    }
    return {
        **headers,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.url.path,
        "QUERY_STRING": request.url.query.decode("ascii"),
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
