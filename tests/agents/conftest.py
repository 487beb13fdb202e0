"""One echo server for all tests that only ask it, and servers that do as a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from localphi.config import Settings
from serving import serving

from .scripted_server import Script, ScriptedServer


@pytest.fixture(scope="session")
def echo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), backend="echo")) as server:
        yield server.url


@pytest.fixture
def scripted() -> Iterator[Callable[[Script], ScriptedServer]]:
    """Start a server whose every connection runs the script."""
    with ExitStack() as servers:
        yield lambda script: servers.enter_context(ScriptedServer(script))
