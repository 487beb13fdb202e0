"""The model on WebNN, in a Chromium that has a backend for it, which computes on the CPU."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, Route

from browsing import FLAGS
from driving import ready
from find_browser import find_with_webnn
from localphi.config import Settings, disable_telemetry
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
def webnn(playwright: Playwright) -> Iterator[Browser]:
    path = find_with_webnn()
    if path is None:
        pytest.skip("no browser with WebNN: python tests/browser/find_browser.py --install")
    arguments = ["--headless=new", *FLAGS, FLAG]
    browser = playwright.chromium.launch(executable_path=str(path), args=arguments)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(webnn: Browser, server: LiveServer) -> Page:
    return _open(webnn, server)


def _open(browser: Browser, server: LiveServer) -> Page:
    """The page on WebNN, with a worker that counts in `dispatches` how many graphs it has run."""
    page = browser.new_page(service_workers="block")

    def patch(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=COUNT + response.text())

    page.route(re.compile(r"/assets/main-[^/]+\.js$"), patch)
    page.goto(f"{server.url}/?device=webnn&debug=1")
    ready(page)
    return page


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


def test_a_model_that_was_built_for_webnn_reads_a_prompt_at_once(
    webnn: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disable_telemetry()
    for library in ("torch", "transformers", "onnx_ir"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra 'toolchain')")
    from localphi.toolchain.build.run import Job, build
    from tiny_checkpoints import TINY, building_here, write_checkpoint

    folder = tmp_path_factory.mktemp("built")
    checkpoint = write_checkpoint(folder / "hf", TINY["phi-3"])
    with building_here():
        build(Job(checkpoint, folder / "tiny", ("server-cpu", "webnn"), browser_context=256))
    with serving(Settings(home=folder / "home", model=str(folder / "tiny"))) as server:
        page = _open(webnn, server)
        (worker,) = (one for one in page.workers if "/assets/" in one.url)
        before = worker.evaluate("globalThis.dispatches")
        got = page.evaluate(ASK, [[{"role": "user", "content": "Hi there, who are you? " * 3}], 4])
        read = worker.evaluate("globalThis.dispatches") - before
        page.close()
    assert got["device"] == "webnn", "the canary holds, of a prompt longer than half the context"
    assert len(got["promptIds"]) > 40
    assert read == len(got["ids"]), "the prompt, then each token but the last"
