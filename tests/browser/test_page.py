"""The page in a real headless browser against a real server, once for each device that can be tested here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from driving import READY_MS, Open
from serving import ROOT, VECTORS, LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SCREENSHOTS = ROOT / "tests" / "output"
PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
QUESTION = "What is localphi?"
WEIGHTS = "**/model.onnx.data?v=*"
DAMAGE_WEIGHTS = """async () => {
  const root = await navigator.storage.getDirectory();
  for await (const folder of root.values()) {
    for await (const file of folder.values()) {
      if ((await file.getFile()).size < 1e6) continue;
      const writer = await file.createWritable({ keepExistingData: true });
      await writer.write({ type: 'write', position: 5e6, data: new Uint8Array(100) });
      await writer.close();
    }
  }
}"""


def _ask(page: Page, text: str) -> str:
    """Send a message; the text of the finished answer."""
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    expect(page.get_by_test_id("message-user").last).to_contain_text(text)
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    return page.get_by_test_id("message-assistant").last.inner_text()


def _expected(question: str) -> str:
    return next(str(case["text"]) for case in PARITY["cases"] if case["messages"][-1]["content"] == question)


@pytest.mark.parametrize("device", ["wasm", "server"])
def test_the_page_answers_on(open_page: Open, device: str) -> None:
    page = open_page(f"?device={device}")
    assert page.locator("[data-device]").first.get_attribute("data-device") == device
    answer = _ask(page, QUESTION)
    assert _expected(QUESTION)[:60] in answer
    assert "tokens/s" in page.get_by_test_id("message-assistant").last.inner_text()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"answer-{device}.png")


@pytest.mark.parametrize(
    ("device", "cases", "limit"),
    [("wasm", PARITY["cases"], PARITY["max_tokens"]), ("webgpu", PARITY["cases"][::3], 6)],
)
def test_greedy_ids_are_those_of_the_server(
    open_page: Open, device: str, cases: list[Any], limit: int
) -> None:
    """Fewer on WebGPU: a software adapter makes about two tokens a second."""
    page = open_page(f"?device={device}&debug=1")
    for case in cases:
        got = page.evaluate(
            "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)",
            [case["messages"], limit],
        )
        assert got["device"] == device
        assert got["ids"] == case["ids"][:limit], case["messages"]
        assert case["text"].startswith(got["text"])


COUNT_RUNS = """() => {
  const wasm = globalThis.localphiOrtWasm;
  const run = wasm._OrtRun;
  globalThis.runs = { inPlace: 0, other: 0 };
  wasm._OrtRun = (...given) => {
    globalThis.runs[wasm.getValue(given[6], '*') === 0 ? 'other' : 'inPlace'] += 1;
    return run(...given);
  };
}"""


def test_on_wasm_keys_and_values_stay_where_they_are(open_page: Open) -> None:
    """Every run writes into tensors that were there before, instead of giving out new ones."""
    page = open_page("?device=wasm&debug=1")
    (worker,) = (one for one in page.workers if "/assets/" in one.url)  # the others are its threads
    worker.evaluate(COUNT_RUNS)
    case = PARITY["cases"][0]
    page.evaluate(
        "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)", [case["messages"], 12]
    )
    runs = worker.evaluate("() => globalThis.runs")
    assert runs["inPlace"] >= 12
    assert runs["other"] == 0


@pytest.mark.parametrize(("device", "limit"), [("wasm", 40), ("webgpu", 3)])
def test_a_follow_up_reads_only_what_is_new_and_says_the_same(
    open_page: Open, device: str, limit: int
) -> None:
    ask = "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)"
    page = open_page(f"?device={device}&debug=1")
    turns = [{"role": "user", "content": QUESTION}]
    first = page.evaluate(ask, [turns, limit])
    assert first["cachedTokens"] == 0
    turns += [
        {"role": "assistant", "content": first["text"]},
        {"role": "user", "content": "And does it cost anything?"},
    ]
    warm = page.evaluate(ask, [turns, limit])
    assert len(first["promptIds"]) <= warm["cachedTokens"] < len(warm["promptIds"])
    page.evaluate(ask, [[{"role": "user", "content": "Hello!"}], 1])  # turns elsewhere
    assert page.evaluate(ask, [turns[:1], limit])["ids"] == first["ids"]
    page.reload()
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    cold = page.evaluate(ask, [turns, limit])
    assert cold["cachedTokens"] == 0
    assert warm["ids"] == cold["ids"]


def test_without_a_gpu_the_page_takes_wasm_with_threads(open_page: Open) -> None:
    page = open_page("")
    assert page.evaluate("crossOriginIsolated") is True
    assert page.locator("[data-device]").first.get_attribute("data-device") == "wasm"


def test_where_the_browser_can_do_nothing_the_server_answers(
    context: BrowserContext, open_page: Open
) -> None:
    context.add_init_script(
        "delete globalThis.WebAssembly; delete Navigator.prototype.gpu; delete globalThis.Worker;"
    )
    page = open_page("")
    assert page.locator("[data-device]").first.get_attribute("data-device") == "server"
    assert _expected(QUESTION)[:60] in _ask(page, QUESTION)


def test_without_isolation_the_page_computes_with_one_thread(
    context: BrowserContext, open_page: Open
) -> None:
    context.route("**/*", _without_isolation)
    page = open_page("?device=wasm")
    assert page.evaluate("crossOriginIsolated") is False
    assert _expected(QUESTION)[:60] in _ask(page, QUESTION)


def _without_isolation(route: Route) -> None:
    """As behind a proxy that drops the headers threads need."""
    response = route.fetch()
    dropped = ("cross-origin-opener-policy", "cross-origin-embedder-policy")
    headers = {name: value for name, value in response.headers.items() if name.lower() not in dropped}
    route.fulfill(response=response, headers=headers)


def test_the_conversation_survives_a_reload(open_page: Open) -> None:
    page = open_page("?device=wasm")
    answer = _ask(page, QUESTION)
    page.reload()
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    expect(page.get_by_test_id("message-user")).to_contain_text(QUESTION)
    assert page.get_by_test_id("message-assistant").inner_text().split("\n")[0] == answer.split("\n")[0]


def test_the_second_visit_takes_the_weights_from_the_browser(open_page: Open) -> None:
    open_page("?device=wasm").close()
    page = open_page("?device=wasm", wait=False)
    fetched: list[str] = []
    page.on("response", lambda response: fetched.append(response.url))
    page.reload()
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    assert not [url for url in fetched if "model.onnx.data" in url]


def test_weights_that_changed_in_the_browsers_storage_are_fetched_again(open_page: Open) -> None:
    page = open_page("?device=wasm")
    page.evaluate(DAMAGE_WEIGHTS)
    fetched: list[str] = []
    page.on("response", lambda response: fetched.append(response.url))
    page.reload()
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    assert page.locator("[data-device]").first.get_attribute("data-device") == "wasm"
    assert [url for url in fetched if "model.onnx.data" in url]


def test_stop_keeps_what_was_said(open_page: Open, context: BrowserContext) -> None:
    page = open_page("?device=server")
    held: list[Route] = []
    page.route("**/v1/chat/completions", lambda route: _hold(route, held))
    page.get_by_test_id("composer").fill(QUESTION)
    page.get_by_test_id("send").click()
    expect(page.locator("[data-state=generating]")).to_be_attached()
    page.get_by_test_id("stop").click()
    expect(page.locator("[data-state=ready]")).to_be_attached()
    expect(page.get_by_test_id("message-user")).to_contain_text(QUESTION)
    for route in held:
        route.abort()


def _hold(route: Route, held: list[Route]) -> None:
    held.append(route)  # the server's answer never comes


def test_a_damaged_download_is_named_and_the_page_recovers(
    context: BrowserContext, demo_server: LiveServer
) -> None:
    context.route(WEIGHTS, lambda route: route.fulfill(body=b"x" * 100))
    page = context.new_page()
    page.goto(f"{demo_server.url}/?device=wasm")
    expect(page.locator("body")).to_contain_text("model.onnx.data", timeout=READY_MS)
    context.unroute(WEIGHTS)
    page.reload()
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    assert _expected(QUESTION)[:60] in _ask(page, QUESTION)


def test_nothing_is_asked_of_anybody_else(
    open_page: Open, context: BrowserContext, demo_server: LiveServer
) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = open_page("?device=wasm")
    _ask(page, QUESTION)
    foreign = [url for url in asked if not url.startswith((demo_server.url, "blob:", "data:"))]
    assert asked
    assert foreign == []


def test_the_page_fits_a_phone(browser: Browser, demo_server: LiveServer) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 640}, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{demo_server.url}/?device=server")
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=READY_MS)
    _ask(page, QUESTION)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "phone-dark.png")
    context.close()
