"""The model on WebNN, in a Chromium that has a backend for it, which computes on the CPU."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Playwright, Route

from browsing import FLAGS
from driving import ready
from find_browser import find_with_webnn
from localphi.config import Settings
from localphi.toolchain.graphs.webnn import add_webnn_variant
from serving import DEMO, VECTORS, LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(200), pytest.mark.complaints(".")]

PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
ASK = "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)"
COUNT = """{
  globalThis.dispatches = 0;
  const { dispatch } = MLContext.prototype;
  MLContext.prototype.dispatch = function (...given) {
    globalThis.dispatches += 1;
    return dispatch.apply(this, given);
  };
}"""
FLAG = "--enable-features=WebMachineLearningNeuralNetwork"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("webnn") / "demo"
    shutil.copytree(DEMO, folder)
    add_webnn_variant(folder)
    with serving(Settings(home=folder.parent / "home", model=str(folder))) as server:
        yield server


@pytest.fixture(scope="module")
def page(playwright: Playwright, server: LiveServer) -> Iterator[Page]:
    path = find_with_webnn()
    if path is None:
        pytest.skip("no browser with WebNN: python tests/browser/find_browser.py --install")
    arguments = ["--headless=new", *FLAGS, FLAG]
    browser = playwright.chromium.launch(executable_path=str(path), args=arguments)
    page = browser.new_page(service_workers="block")

    def patch(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=COUNT + response.text())

    page.route(re.compile(r"/assets/main-[^/]+\.js$"), patch)
    page.goto(f"{server.url}/?device=webnn&debug=1")
    ready(page)
    yield page
    browser.close()


def test_greedy_answers_on_webnn_are_those_of_the_server(page: Page) -> None:
    assert page.locator("[data-device]").first.get_attribute("data-device") == "webnn"
    for case in PARITY["cases"][:2]:
        got = page.evaluate(ASK, [case["messages"], 10])
        assert got["device"] == "webnn", "it held all the way"
        assert got["ids"] == case["ids"][:10], case["messages"]


def test_a_token_is_one_graph_on_webnn(page: Page) -> None:
    """What WebNN does not take, ONNX Runtime computes itself, without a word."""
    (worker,) = (one for one in page.workers if "/assets/" in one.url)
    case = PARITY["cases"][0]
    page.evaluate(ASK, [case["messages"], 1])
    before = worker.evaluate("globalThis.dispatches")
    page.evaluate(ASK, [case["messages"], 5])
    assert worker.evaluate("globalThis.dispatches") - before == 5  # the prompt's last token, then four


def test_a_follow_up_reads_only_what_is_new(page: Page) -> None:
    case = PARITY["cases"][0]
    got = page.evaluate(ASK, [case["messages"], 5])
    again = page.evaluate(ASK, [case["messages"], 5])
    assert again["ids"] == got["ids"]
    assert again["cachedTokens"] == len(got["promptIds"]) - 1


def test_prompts_longer_than_the_graphs_are_read_all_the_same(page: Page, server: LiveServer) -> None:
    """In two parts, the second with all before it, by the graph for 512 tokens."""
    words = " ".join(f"word{i}" for i in range(90))
    case = [{"role": "user", "content": f"{words} What is localphi?"}]
    got = page.evaluate(ASK, [case, 4])
    assert 256 < len(got["promptIds"]) < 512
    expected = page.request.post(
        f"{server.url}/v1/completions",
        data={"prompt": got["promptIds"], "max_tokens": 4, "temperature": 0},
    ).json()
    assert got["device"] == "webnn"
    assert got["text"].strip() == expected["choices"][0]["text"].strip()
