"""Fixtures: applications and servers, with the echo backend where no model is needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from localphi import create_app
from localphi.config import Settings
from serving import DEMO, BufferedClient, LiveServer, serving

pytest_plugins = ["browsing"]  # browser/browsing.py; mypy takes one conftest.py only


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: Playwright keeps an event loop running, beside which no coroutine can be tested."""
    items.sort(key=lambda item: "browser" in item.path.parts)


@pytest.fixture
def echo_settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", backend="echo")


@pytest.fixture
def app(echo_settings: Settings) -> Iterator[Flask]:
    app = create_app(echo_settings)
    yield app
    app.extensions["localphi"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    app.test_client_class = BufferedClient
    return app.test_client()


@pytest.fixture
def live_server(echo_settings: Settings) -> Iterator[LiveServer]:
    """A server whose answers are the last user message, word by word."""
    with serving(echo_settings) as server:
        yield server


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with the demo model, shared by every test that only asks it."""
    with serving(Settings(home=tmp_path_factory.mktemp("home"))) as server:
        yield server


@pytest.fixture
def demo_copy(tmp_path: Path) -> Path:
    """A copy of the demo model in the store of `tmp_path / "home"`, free to be damaged."""
    folder = tmp_path / "home" / "models" / "localphi-demo"
    shutil.copytree(DEMO, folder)
    return folder
