"""Clients and servers in this process, and where the shared test data lies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from localphi import create_app
from localphi.chat import ServerTool
from localphi.config import Settings
from localphi.engine.client import Engine, Engines
from localphi.engine.elsewhere import Elsewhere
from localphi.models.store import BUNDLED_DIR
from localphi.server import bind

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "vectors"
DEMO = BUNDLED_DIR / "localphi-demo"


class BufferedClient(FlaskClient):
    """Reads every response to its end and closes it, as a browser would."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **{"buffered": True, **kwargs})


@dataclass(frozen=True)
class LiveServer:
    """`engines` reaches the worker processes of the server at `url`."""

    url: str
    engines: Engines


@contextmanager
def serving(
    settings: Settings, elsewhere: Elsewhere | None = None, tools: Sequence[ServerTool] = ()
) -> Iterator[LiveServer]:
    """Serve on a free loopback port until the block ends. elsewhere: who answers, if not this process."""
    app = create_app(settings, elsewhere, tools)
    engines: Engines = app.extensions["localphi"]
    server = bind(app, replace(settings, port=0))
    closing = threading.Event()

    def run() -> None:
        try:
            server.run()
        except OSError:  # closed while its loop was waiting on it
            if not closing.is_set():
                raise

    thread = threading.Thread(target=run, name="test-server", daemon=True)
    thread.start()
    try:
        yield LiveServer(f"http://127.0.0.1:{server.effective_port}", engines)
    finally:
        closing.set()
        for channel in list(server.active_channels.values()):  # browsers keep connections open
            channel.handle_close()
        server.close()
        engines.close()
        thread.join(5)


def kill_until_it_fails(engine: Engine) -> None:
    """Kill every worker as soon as it is there, until none is started any more."""
    killed: int | None = None
    while engine.state.status not in ("failed", "idle"):
        if (pid := engine.worker_pid) is not None and pid != killed:
            os.kill(pid, signal.SIGKILL)
            killed = pid
        time.sleep(0.001)
