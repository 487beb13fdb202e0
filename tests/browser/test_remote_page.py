"""The page of a server that has no model itself."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from driving import ready
from localphi.config import Settings
from serving import LiveServer, serving


def test_the_page_takes_the_servers_way(
    context: BrowserContext, demo_server: LiveServer, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, engine="remote", upstreams=(demo_server.url,))
    with serving(settings) as front:
        page = context.new_page()
        page.goto(front.url)
        ready(page)
        assert page.locator("[data-device]").first.get_attribute("data-device") == "server"
        page.get_by_test_id("composer").fill("What is localphi?")
        page.get_by_test_id("composer").press("Enter")
        expect(page.get_by_test_id("message-assistant").last).to_contain_text("quantized Phi", timeout=60_000)
        ready(page)
        page.close()
