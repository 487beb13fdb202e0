"""What the browser tests have in common besides fixtures."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

Open = Callable[..., Page]

READY_MS = 120_000


def ready(page: Page) -> None:
    """Wait until the page can answer and does not."""
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
