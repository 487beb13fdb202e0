"""A headless browser, and pages in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

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


@pytest.fixture(scope="session")
def playwright(browser_path: Path) -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


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
def problems(context: BrowserContext) -> list[str]:
    """What the browser complained about on the console; tests that expect trouble look elsewhere."""
    found: list[str] = []
    context.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: found.append(str(error.error)))
    return found


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
