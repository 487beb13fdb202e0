"""Serving: waitress around the application, from binding the address to ending the workers."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import waitress

from localphi import create_app
from localphi.config import Settings
from localphi.engine.client import Engines
from localphi.errors import ServerStartFailed
from localphi.routes import MAX_BODY_BYTES
from localphi.security import LOOPBACK_NAMES

_LARGER_BYTES = 64 * 1024  # so that a large body is refused by Flask, with our error object
_SPARE_THREADS = 8  # page, files and health stay quick while every answer is streaming


def serve(settings: Settings, on_ready: Callable[[str], object]) -> None:
    """Serve until Ctrl-C, then end the workers. `on_ready` gets the page's address once the port is bound.

    Raises ServerStartFailed, or what is wrong with the default model.
    """
    if settings.host not in LOOPBACK_NAMES:
        raise ServerStartFailed(
            f"localphi serves this machine only: --host must be one of {', '.join(sorted(LOOPBACK_NAMES))}, "
            f"but is '{settings.host}'. To share it, put a proxy with authentication in front."
        )
    app = create_app(settings)
    engines: Engines = app.extensions["localphi"]
    server = bind(app, settings)
    try:
        _stop_on_signals(engines)
        engines.start_default()
        on_ready(page_url(settings.host, server.effective_port))
        server.run()
    finally:
        server.close()
        engines.close()


def _stop_on_signals(engines: Engines) -> None:
    """Ctrl-C and SIGTERM end the answers first: waitress would wait 5 s for the threads that write them."""

    def stop(number: int, frame: FrameType | None) -> None:
        engines.close()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def bind(app: Any, settings: Settings) -> Any:
    """A waitress server that holds its port. Port 0 takes a free one, see `effective_port`."""
    threads = settings.max_requests + _SPARE_THREADS
    return waitress.create_server(
        app,
        sockets=[_listen(settings.host, settings.port)],
        threads=threads,
        connection_limit=max(100, threads * 2),
        channel_request_lookahead=1,  # notices a client that leaves during a silent prefill
        max_request_body_size=MAX_BODY_BYTES + _LARGER_BYTES,
        clear_untrusted_proxy_headers=True,
        ident=None,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ServerStartFailed(f"{host}:{port} cannot be served: {error.strerror}.") from error
        raise ServerStartFailed(
            f"Port {port} is in use. End the other program, or choose another port: "
            f"localphi serve --port {port + 1}"
        ) from error


def page_url(host: str, port: int) -> str:
    shown = "localhost" if host in ("127.0.0.1", "::1") else host
    return f"http://{shown}:{port}"
