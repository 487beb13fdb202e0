"""Serving: waitress around the application, from binding the address to ending the workers."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import waitress
from waitress.channel import HTTPChannel

from localphi import create_app
from localphi.chat import ServerTool
from localphi.config import Settings, forget_secrets, ray_on_loopback
from localphi.engine.client import Engines
from localphi.engine.elsewhere import Elsewhere
from localphi.engine.upstream import parse_address
from localphi.errors import ServerStartFailed
from localphi.logs import keep_private
from localphi.routes import MAX_BODY_BYTES
from localphi.security import EVERY_ADDRESS, LOOPBACK_NAMES, MAX_URL_CHARS, Access, is_loopback, key_names

_LARGER_BYTES = 64 * 1024  # so that a large body is refused by Flask, with our error object
_SPARE_THREADS = 8  # page, files and health stay quick while every answer is streaming
_HEADER_BYTES = 32 * 1024 + MAX_URL_CHARS
_REQUEST_TIMEOUT_S = 60  # for a request to come in whole, and for a connection to be silent
_CLEANUP_S = 5
_CONNECTIONS = 1000
_CONNECTIONS_WITHOUT_POLL = 400  # select() takes 512 sockets on Windows; a process has other ones, too


def serve(settings: Settings, on_ready: Callable[[str], object], tools: Sequence[ServerTool] = ()) -> None:
    """Serve until Ctrl-C, then end the workers. `on_ready` gets the page's address once the port is bound.

    Raises ServerStartFailed, KeysUnusable, or what is wrong with the default model.
    """
    Access.of(settings, lambda _: False)  # refuses to be open to others, before anything is started
    app = create_app(settings, _elsewhere(settings), tools)
    forget_secrets()
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


def _elsewhere(settings: Settings) -> Elsewhere | None:
    """Replicas in a Ray of this machine's own, where the settings want them."""
    if settings.engine != "ray":
        return None
    folder = tempfile.TemporaryDirectory(prefix="localphi-ray-")
    ray_on_loopback(Path(folder.name) / "token")
    from localphi.deploy.ray_serve import start
    from localphi.deploy.scale import Scale

    cores = max(1, settings.threads // settings.replicas)
    far = start(replace(settings, threads=cores), Scale(max_replicas=settings.replicas, num_cpus=cores))

    def close() -> None:
        far.close()
        folder.cleanup()

    return replace(far, close=close)


def _stop_on_signals(engines: Engines) -> None:
    """Ctrl-C and SIGTERM end the answers first: waitress would wait 5 s for the threads that write them."""

    def stop(number: int, frame: FrameType | None) -> None:
        engines.close()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def bind(app: Any, settings: Settings) -> Any:
    """A waitress server that holds its port. Port 0 takes a free one, see `effective_port`."""
    keep_private("waitress")
    server = waitress.create_server(
        app,
        sockets=[_listen(settings.host, settings.port)],
        threads=settings.max_requests + _SPARE_THREADS,
        connection_limit=_connection_limit(),
        asyncore_use_poll=True,
        channel_request_lookahead=1,  # notices a client that leaves during a silent prefill
        channel_timeout=_REQUEST_TIMEOUT_S,
        cleanup_interval=_CLEANUP_S,
        max_request_header_size=_HEADER_BYTES,
        max_request_body_size=MAX_BODY_BYTES + _LARGER_BYTES,
        clear_untrusted_proxy_headers=True,
        ident=None,
    )
    server.channel_class = _Channel
    return server


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that is not kept open by a request which comes in a byte at a time.

    waitress closes connections that were silent for `channel_timeout`; here that is also how long a request
    may take to arrive, or some hundred clients that never finish theirs would lock out everybody else.
    """

    last_activity: float

    def handle_read(self) -> None:
        begun = self.last_activity if self.request is not None else None
        super().handle_read()
        if begun is not None and self.request is not None:
            self.last_activity = begun


def _connection_limit() -> int:
    """As many connections as this process may hold beside its files and pipes."""
    if sys.platform == "win32":
        return _CONNECTIONS_WITHOUT_POLL
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _CONNECTIONS if soft == resource.RLIM_INFINITY else min(_CONNECTIONS, soft // 2)


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
    if host in LOOPBACK_NAMES or host in EVERY_ADDRESS:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def who_may_ask(settings: Settings) -> str:
    """A sentence or two on who can use the server, for whoever starts it."""
    names = ", ".join(key_names(settings))
    return f"{_who_is_asked(settings)}{_who(settings, names)}"


def _who_is_asked(settings: Settings) -> str:
    """Where what is written goes."""
    to = settings.trace_to
    traced = f"Times of answers, without their texts, go to {to}. " if to else ""
    if settings.engine != "remote":
        return traced
    addresses = [parse_address(text) for text in settings.upstreams]
    open_ones = [each for each in addresses if each.scheme == "http" and not is_loopback(each.host)]
    warning = " Not all of these connections are encrypted." if open_ones else ""
    return f"What is asked goes to {', '.join(map(str, addresses))} and nowhere else.{warning} {traced}"


def _who(settings: Settings, names: str) -> str:
    if settings.host in EVERY_ADDRESS or not is_loopback(settings.host):
        return (
            f"Other machines can use it with an access key ({names}). The connection is not encrypted: "
            "beyond a network that you trust, put a proxy with TLS in front."
        )
    if names:
        return f"It wants an access key ({names})."
    if settings.engine == "remote":
        return "Only this machine can ask."
    return "Nothing else leaves this machine." if settings.trace_to else "Nothing leaves this machine."
