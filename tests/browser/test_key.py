"""The page of a server that wants an access key, and of one that has a name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect

from browsing import FLAGS
from driving import READY_MS, ready
from localphi.config import Settings
from serving import LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.complaints("401")]

KEY = "sk-this-is-the-secret-key"
NAME = "phi.test"


@pytest.fixture
def closed(echo_settings: Settings) -> Iterator[LiveServer]:
    with serving(replace(echo_settings, api_keys=f"alice:{KEY}", allow_hosts=(NAME,))) as server:
        yield server


def _give(page: Page, key: str, *, lasting: bool = False) -> None:
    expect(page.get_by_test_id("key")).to_be_focused()
    page.get_by_test_id("key").fill(key)
    if lasting:
        page.get_by_test_id("key-lasting").check()
    page.get_by_test_id("key").press("Enter")


def _ask(page: Page, text: str) -> None:
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    expect(page.get_by_test_id("message-assistant").last).to_contain_text(text, timeout=READY_MS)


def test_the_page_asks_for_the_key_and_sends_it(context: BrowserContext, closed: LiveServer) -> None:
    page = context.new_page()
    page.goto(f"{closed.url}/?device=wasm")
    expect(page.get_by_role("dialog", name="Access key")).to_be_visible()
    _give(page, "two words")
    expect(page.get_by_role("alert")).to_contain_text("no key")
    _give(page, "sk-wrong-wrong-wrong")
    expect(page.get_by_role("alert")).to_contain_text("did not take")
    _give(page, KEY)
    ready(page)  # the worker has fetched the model's files with the key
    expect(page.get_by_test_id("key-dialog")).to_have_count(0)
    assert page.locator("[data-device]").first.get_attribute("data-device") == "wasm"
    page.goto(f"{closed.url}/?device=server")
    ready(page)  # of the same tab, which has the key
    _ask(page, "hello there")
    other = context.new_page()
    other.goto(f"{closed.url}/?device=server")
    expect(other.get_by_test_id("key-dialog")).to_be_visible()
    _give(other, KEY, lasting=True)
    ready(other)
    third = context.new_page()
    third.goto(f"{closed.url}/?device=server")
    ready(third)  # it was kept for the browser


def test_who_gives_no_key_is_told_and_asked_again(context: BrowserContext, closed: LiveServer) -> None:
    page = context.new_page()
    page.goto(f"{closed.url}/?device=server")
    page.get_by_test_id("key-dialog").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_text(re.compile("wants an access key"))).to_be_visible()
    page.get_by_role("button", name="Try again").first.click()
    _give(page, KEY)
    ready(page)


@pytest.mark.complaints("Cross-Origin-Opener-Policy")
def test_under_another_name_without_tls_the_server_answers(
    playwright: Playwright, browser_path: Path, closed: LiveServer
) -> None:
    """Browsers give a page neither storage nor hashes nor the GPU there, so that nothing can run in it."""
    flags = ["--headless=new", *FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
    browser = playwright.chromium.launch(executable_path=str(browser_path), args=flags)
    try:
        page = browser.new_page()
        page.goto(closed.url.replace("127.0.0.1", NAME))
        _give(page, KEY)
        ready(page)
        assert page.locator("[data-device]").first.get_attribute("data-device") == "server"
        _ask(page, "hello there")
    finally:
        browser.close()
