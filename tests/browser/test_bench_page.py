"""The page /bench, by hand and by `localphi bench --browser`. No figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driving import violations
from localphi.config import Settings
from localphi.models.manifest import Variant, write_manifest
from serving import LiveServer, serving
from tiny_phi import PHI_3, tiny_phi

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MEASURED_MS = 120_000


@pytest.fixture(scope="module")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A model so small that thousands of tokens take no time."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "models" / "tiny"
    folder.mkdir(parents=True)
    manifest = tiny_phi(folder, PHI_3)
    variant = Variant(tuple(manifest.files), 100_000, 64, None)
    variants = {**manifest.variants, "wasm": variant, "webgpu-f32": variant}
    write_manifest(folder, replace(manifest, variants=variants))
    with serving(Settings(home=home, model=folder.name)) as server:
        yield server


@pytest.fixture
def page(context: BrowserContext, tiny_server: LiveServer) -> Page:
    page = context.new_page()
    page.goto(f"{tiny_server.url}/bench?model=tiny")
    return page


def _measure(page: Page) -> None:
    page.get_by_label("Rounds").fill("1")
    page.get_by_label("Tokens an answer").fill("4")
    page.get_by_test_id("run").click()
    status = page.get_by_test_id("status")
    expect(status).to_have_attribute("data-phase", "running")
    expect(status).to_have_attribute("data-phase", "idle", timeout=MEASURED_MS)


def test_the_page_measures_compares_and_keeps_it_all_to_itself(
    context: BrowserContext, page: Page, tiny_server: LiveServer
) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    _measure(page)
    told = json.loads(page.get_by_test_id("json").inner_text())
    assert [row["context"] for row in told["rows"]] == [128, 1024, 2048]
    for row in told["rows"]:
        assert row["promptTokens"] == pytest.approx(row["context"], rel=0.2)
        assert row["firstTokenMs"] > 0
        assert row["decodePerSecond"] > 0
    assert told["secondTurn"]["newTokens"] < told["secondTurn"]["coldTokens"] / 4
    assert told["equalToServer"] == 1
    assert told["warmMs"] > 0
    sent = [line for line in asked if not line.startswith("GET ")]
    assert {line.removeprefix(f"POST {tiny_server.url}") for line in sent} == {"/v1/chat/completions"}
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_text("Copy as Markdown").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert "| localphi |" in page.evaluate("navigator.clipboard.readText()")
    page.reload()
    expect(page.get_by_test_id("result")).to_be_visible()
    _measure(page)
    expect(page.get_by_test_id("runs").locator("tr")).to_have_count(2)
    assert page.locator("svg rect.newest").count() == 3
    assert page.locator("svg rect.earlier").count() == 3
    assert violations(page) == []
    page.evaluate("localStorage.setItem('localphi.language', 'de')")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_test_id("result")).to_contain_text("Token im Prompt")
    page.evaluate("localStorage.removeItem('localphi.language')")
    page.reload()
    page.get_by_text("Forget all runs").click()
    page.reload()
    expect(page.get_by_test_id("result")).to_have_count(0)


def test_a_device_that_does_not_hold_is_told(context: BrowserContext, page: Page) -> None:
    context.route("**/ort/*", lambda route: route.abort())
    page.get_by_test_id("run").click()
    status = page.get_by_test_id("status")
    told = "It could not be measured: wasm does not run the model here"
    expect(status).to_contain_text(told, timeout=MEASURED_MS)
    context.unroute_all()
    _measure(page)


def _bench(*arguments: str) -> str:
    """In a process of its own: Playwright does not like to be started twice in one."""
    start = [sys.executable, "-c", "from localphi.cli import main; main()"]
    command = [*start, "bench", "--browser", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


SMALL = ("--prompts", "32,64", "--generate", "4", "--rounds", "1")


def test_the_command_measures_in_an_installed_browser(tmp_path: Path, browser_path: Path) -> None:
    page = tmp_path / "page.md"
    (line,) = _bench(*SMALL, "--json", "--report", str(page)).splitlines()
    told = json.loads(line)
    assert told["device"] == "wasm"
    assert told["modelId"] == "localphi-demo"
    assert told["equalToServer"] == 1
    assert told["heap"]["warm"]["samples"] > 0
    assert told["heap"]["warm"]["with_buffers"] > told["heap"]["warm"]["heap"] > 1e5
    assert "| localphi | " in page.read_text(encoding="utf-8")
    assert "peak of JS heap" in page.read_text(encoding="utf-8")


def test_a_peer_answers_with_the_same_tokens(browser_path: Path) -> None:
    """Skipped where npm has not installed it: `localphi bench --browser --vs transformers.js` says how."""
    peers = Settings.from_environment().home / "bench-peers" / "node_modules"
    if not (peers / "@huggingface" / "transformers").is_dir():
        pytest.skip("transformers.js is not installed")
    told = json.loads(_bench(*SMALL, "--vs", "transformers.js", "--json"))
    rows = [row for row in told["rows"] if row["subject"] == "transformers.js"]
    assert [row["sameTokens"] for row in rows] == [1, 1]
    assert all(row["ratio"] > 0 for row in rows)
    assert "@huggingface/transformers" in told["versions"]
