"""A headless browser, and pages in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Error,
    Page,
    Playwright,
    sync_playwright,
)

from driving import Open, ready
from find_browser import find
from serving import LiveServer

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-webgpu",  # gives a software WebGPU adapter on machines without a GPU
)


@pytest.fixture(scope="session")
def browser_path() -> Path:
    path = find()  # by Playwright too, which does not like to be started twice
    assert path is not None, "no browser: run `make browser`"
    return path


@dataclass
class Console:
    """What browsers complained about: errors on the console, and those that nothing caught."""

    complaints: list[str] = field(default_factory=list)
    _open: list[BrowserContext] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        self._open.append(context)
        context.on("close", self._forget)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _forget(self, context: BrowserContext) -> None:
        self._open.remove(context)

    def _note(self, message: ConsoleMessage) -> None:
        address = message.location["url"]
        by_itself = address.endswith("/favicon.ico")  # which a browser asks for on pages that name no icon
        if message.type == "error" and not by_itself:
            self.complaints.append(f"{message.text} ({address})")

    def catch_up(self) -> None:
        """What was said before this returns is noted."""
        for context in list(self._open):
            with suppress(Error):  # a browser that is gone says no more
                context.cookies()


@pytest.fixture(scope="session")
def console() -> Console:
    return Console()


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest, console: Console) -> Iterator[None]:
    """A test in which a browser complains fails, but for what it has named: `complaints(*patterns)`."""
    console.complaints.clear()
    yield
    console.catch_up()
    marks = request.node.iter_markers("complaints")
    expected = ["ERR_EMPTY_RESPONSE"]  # the server of a test ends while a page still asks
    expected += [pattern for mark in marks for pattern in mark.args]
    assert [it for it in console.complaints if not any(re.search(one, it) for one in expected)] == []


@pytest.fixture(scope="session")
def playwright(browser_path: Path, console: Console) -> Iterator[Playwright]:
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        for kind, opens in (
            (Browser, "new_context"),
            (Browser, "new_page"),
            (BrowserType, "launch_persistent_context"),
        ):
            patch.setattr(kind, opens, _watched(getattr(kind, opens), console))
        yield playwright


def _watched(
    opens: Callable[..., BrowserContext | Page], console: Console
) -> Callable[..., BrowserContext | Page]:
    def watched(*args: object, **kwargs: object) -> BrowserContext | Page:
        opened = opens(*args, **kwargs)
        console.watch(opened.context if isinstance(opened, Page) else opened)
        return opened

    return watched


@pytest.fixture(scope="session")
def browser(playwright: Playwright, browser_path: Path) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=str(browser_path), args=["--headless=new", *FLAGS])
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1100, "height": 760}, service_workers="block")
    yield context
    context.close()


@pytest.fixture
def open_page(context: BrowserContext, demo_server: LiveServer) -> Open:
    """Opens the page of a server with the demo model."""
    return _opener(context, demo_server)


@pytest.fixture
def open_echo(context: BrowserContext, live_server: LiveServer) -> Open:
    """Opens the page of a server whose answers are the questions: quick, and says what a test wants."""
    return _opener(context, live_server)


def _opener(context: BrowserContext, server: LiveServer) -> Open:
    def open_(query: str = "", wait: bool = True) -> Page:
        page = context.new_page()
        page.goto(f"{server.url}/{query}")
        if wait:
            ready(page)
        return page

    return open_
