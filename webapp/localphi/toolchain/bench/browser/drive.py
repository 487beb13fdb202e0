"""Starts a browser, lets the /bench page measure, and watches its workers meanwhile."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localphi.errors import BenchFailed
from localphi.toolchain.bench.browser.heap import HeapWatch
from localphi.toolchain.bench.browser.peers import TransformersJs

if TYPE_CHECKING:
    from playwright.sync_api import Page

NO_PLAYWRIGHT = "Playwright is not installed; it drives the browser. Install it with: pip install playwright"
NO_BROWSER = (
    "There is no Chromium, Chrome or Edge here. Install one, on Debian with `apt-get install chromium`, or "
    "let Playwright do it: python -m playwright install chromium"
)
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-webgpu",  # gives a software adapter on machines without a GPU
)
_SAMPLE_MS = 20
_PATIENCE_S = 3600.0

Told = Callable[[str, float], object]
"""Hears what the page does, and how much of all is done (0 to 1)."""


@dataclass(frozen=True)
class BrowserPlan:
    """What the page measures; see static/bench/plan.ts."""

    device: str
    contexts: tuple[int, ...] = (128, 1024, 2048)
    tokens: int = 16
    rounds: int = 3


def measure_in_browser(
    url: str, browser: Path | None, plan: BrowserPlan, peers: Sequence[TransformersJs], told: Told
) -> dict[str, Any]:
    """The page's report as it is in its JSON, with its `markdown`, `heap` and the versions of the peers.

    url: of a server with the model as its default. browser: None for Playwright's own.
    Raises BenchFailed with what the page says went wrong.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise BenchFailed(NO_PLAYWRIGHT) from None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, sync_playwright() as playwright:
        program = browser or Path(playwright.chromium.executable_path)
        if not program.is_file():
            raise BenchFailed(NO_BROWSER)
        try:
            context = playwright.chromium.launch_persistent_context(
                profile, executable_path=str(program), args=[*_FLAGS], service_workers="block"
            )
        except Error as error:
            raise BenchFailed(f"{program} did not start: {error.message.splitlines()[0]}") from None
        with context:
            for peer in peers:
                peer.attach(context)
            page = context.new_page()
            watch = HeapWatch(context.new_cdp_session(page))
            page.goto(f"{url.rstrip('/')}/bench")
            names = ["transformers.js"] * bool(peers)
            _start(page, {**asdict(plan), "peers": names, "server": True})
            return {**_wait(page, watch, told), "versions": _versions(peers), "heap": dict(watch.peaks)}


def _start(page: Page, plan: dict[str, Any]) -> None:
    from playwright.sync_api import Error

    try:
        page.wait_for_function("() => window.localphiBench", timeout=20_000)
    except Error:
        raise BenchFailed("The server's /bench page does not start. Is its page built?") from None
    page.evaluate("(plan) => window.localphiBench.start(plan)", plan)


def _wait(page: Page, watch: HeapWatch, told: Told) -> dict[str, Any]:
    from playwright.sync_api import Error

    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        state = page.evaluate("() => window.localphiBench.state()")
        if state["phase"] == "failed":
            raise BenchFailed(f"The browser could not be measured: {state['message']}")
        if state["phase"] == "idle":
            result = page.evaluate("() => window.localphiBench.result()")
            return {**result["report"], "markdown": result["markdown"]}
        watch.phase = state["what"]
        told(state["what"], state["share"])
        if state["what"] in ("cold", "warm"):  # later on, looking would slow down what is measured
            with suppress(Error):  # the worker is not there yet, or gone meanwhile
                watch.sample()
            page.wait_for_timeout(_SAMPLE_MS)
        else:
            page.wait_for_timeout(500)
    raise BenchFailed(f"The browser was not done after {_PATIENCE_S / 60:.0f} minutes.")


def _versions(peers: Sequence[TransformersJs]) -> dict[str, str]:
    return {name: version for peer in peers for name, version in peer.versions.items()}
