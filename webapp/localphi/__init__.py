"""localphi: run Phi where you are.

`create_app(settings)` gives the WSGI application. Importing this package touches no model, file or socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from localphi.config import Settings

__all__ = ["__version__", "create_app"]
__version__ = "0.2.0"


def create_app(settings: Settings) -> Flask:
    """The Flask application behind all routes, with its engines (started on first use).

    The caller owns the engines: `app.extensions["localphi"].close()` ends their worker processes.
    """
    from localphi.routes import build_app

    return build_app(settings, __version__)
