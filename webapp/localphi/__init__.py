"""localphi: run Phi where you are.

`create_app(settings)` gives the WSGI application. Importing this package touches no model, file or socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from localphi.chat import ServerTool
    from localphi.config import Settings
    from localphi.engine.elsewhere import Elsewhere

__all__ = ["__version__", "create_app"]
__version__ = "0.3.0"


def create_app(
    settings: Settings, elsewhere: Elsewhere | None = None, tools: Sequence[ServerTool] = ()
) -> Flask:
    """The Flask application behind all routes, with its engines (started on first use).

    elsewhere: who computes answers, where neither this machine nor the settings' upstreams do.
    tools: what the server runs for its page.

    The caller owns the engines: `app.extensions["localphi"].close()` ends their worker processes.
    """
    from localphi.routes import build_app

    return build_app(settings, __version__, elsewhere, tools)
