"""The page without its server: after one visit it opens and answers, and a new build is offered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from driving import READY_MS, ready
from localphi.config import Settings, default_page_dir
from pdfs import pdf
from serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.complaints(".")]

IN_CONTROL = "() => navigator.serviceWorker.controller !== null"


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that allows service workers; the other tests do without."""
    context = browser.new_context(service_workers="allow")
    yield context
    context.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", threads=2)


def _visit(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(f"{url}/?device=wasm")
    ready(page)
    page.wait_for_function(IN_CONTROL, timeout=READY_MS)
    return page


def test_after_one_visit_the_page_answers_without_its_server(
    visitor: BrowserContext, settings: Settings
) -> None:
    hosts: set[str] = set()
    visitor.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    with serving(settings) as server:
        page = _visit(visitor, server.url)
    page.reload()
    ready(page)
    assert page.evaluate("self.crossOriginIsolated")  # else the model would have one thread
    page.get_by_test_id("composer").fill("What is localphi?")
    page.get_by_test_id("composer").press("Enter")
    ready(page)
    assert len(page.get_by_test_id("message-assistant").last.inner_text()) > 40
    page.get_by_test_id("attach").set_input_files(
        {"name": "a.pdf", "mimeType": "application/pdf", "buffer": pdf("你好", chinese=True)}
    )
    expect(page.get_by_test_id("attachment")).to_contain_text("a.pdf · about 2 tokens")
    assert hosts == {server.url.removeprefix("http://")}  # nobody else was ever asked


def test_a_new_build_is_offered_and_taken_on_request(
    visitor: BrowserContext, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(default_page_dir(), folder)
    with serving(replace(settings, page_dir=folder, backend="echo")) as server:
        page = visitor.new_page()
        page.goto(f"{server.url}/?device=server")
        page.wait_for_function(IN_CONTROL, timeout=READY_MS)
        start, worker = folder / "index.html", folder / "sw.js"
        start.write_text(start.read_text("utf-8").replace("<title>localphi", "<title>newer"), "utf-8")
        worker.write_text(worker.read_text("utf-8").replace('version: "', 'version: "newer'), "utf-8")
        page.reload()
        expect(page).to_have_title("localphi")  # the build that was kept, until one says so
        toast = page.get_by_test_id("toast")
        expect(toast).to_contain_text("new version", timeout=READY_MS)
        page.screenshot(path=Path("tests/output/new-version.png"))
        toast.get_by_role("button", name="Reload").click()
        expect(page).to_have_title("newer", timeout=READY_MS)
        assert page.evaluate("caches.keys()") == [
            name for name in page.evaluate("caches.keys()") if name.startswith("localphi-page-newer")
        ]
