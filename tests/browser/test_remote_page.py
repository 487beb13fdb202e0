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
        box = page.get_by_role("textbox").first
        box.fill("What is localphi?")
        box.press("Enter")
        expect(page.get_by_text("quantized Phi")).to_be_visible(timeout=60_000)
        assert front.engines.get("localphi-demo").held == 0
        page.close()
