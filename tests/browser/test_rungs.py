"""Answers survive a GPU that is lost, a worker that dies, wrong numbers, and a server that goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from driving import ready
from serving import VECTORS, LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PARITY = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
CASE = PARITY["cases"][0]
QUESTION = CASE["messages"][-1]["content"]
ANSWER_MS = 40_000
ASK = "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)"

# The GPU goes after the second piece of an answer.
LOSE_GPU = """{
  const { requestDevice } = GPUAdapter.prototype;
  let gpu, pieces = 0;
  GPUAdapter.prototype.requestDevice = async function (...given) {
    return (gpu = await requestDevice.apply(this, given));
  };
  const say = self.postMessage.bind(self);
  self.postMessage = (message) => {
    say(message);
    if (message.type === 'text' && ++pieces === 2) gpu.destroy();
  };
}"""
DIE = "setTimeout(() => self.close(), 0)"

# ONNX Runtime's function that runs a graph fails or computes NaN from its nth run in each worker on.
FAIL_FROM = """{
  let wasm, runs = 0;
  Object.defineProperty(globalThis, 'localphiOrtWasm', {
    get: () => wasm,
    set: (made) => {
      const run = made._OrtRun;
      made._OrtRun = (...given) => (++runs < %d ? run(...given) : 1);
      wasm = made;
    },
  });
}"""


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[BrowserContext]:
    """One browser profile: the model is fetched once."""
    context = browser.new_context(viewport={"width": 1100, "height": 760}, service_workers="block")
    yield context
    context.close()


@pytest.fixture
def open_(shared: BrowserContext, demo_server: LiveServer) -> Iterator[Callable[..., Page]]:
    """Opens the page; `script` runs first in each of its workers."""
    pages: list[Page] = []

    def opened(query: str, script: str = "", manifest: Callable[[Any], None] | None = None) -> Page:
        page = shared.new_page()
        pages.append(page)

        def patch(route: Route) -> None:
            response = route.fetch()
            route.fulfill(response=response, body=script + response.text())

        def change(route: Route) -> None:
            response = route.fetch()
            told = response.json()
            if manifest:
                manifest(told)
            route.fulfill(response=response, json=told)

        shared.route(re.compile(r"/assets/main-[^/]+\.js$"), patch)
        shared.route(re.compile(r"/localphi\.json"), change)
        page.goto(f"{demo_server.url}/{query}")
        ready(page)
        return page

    yield opened
    for page in pages:
        page.close()
    shared.unroute_all()


def _worker(page: Page) -> Any:
    return next(worker for worker in page.workers if "/assets/" in worker.url)


def _ask(page: Page, fault: str = "") -> str:
    """The text of the answer, in which the fault happens to its worker."""
    page.get_by_test_id("composer").fill(QUESTION)
    page.get_by_test_id("composer").press("Enter")
    answer = page.get_by_test_id("message-assistant").last
    expect(answer).to_contain_text(CASE["text"][:8], timeout=ANSWER_MS)
    if fault:
        _worker(page).evaluate(fault)
    expect(page.locator("[data-state=ready]")).to_be_attached(timeout=ANSWER_MS)
    return answer.inner_text()


def _device(page: Page) -> str | None:
    return page.locator("[data-device]").first.get_attribute("data-device")


def test_a_lost_gpu_moves_the_answer_to_wasm(open_: Callable[..., Page]) -> None:
    def short_canary(manifest: Any) -> None:  # a software adapter takes half a second for a token
        del manifest["variants"]["webgpu-f32"]["canary"]["expected"][1:]

    page = open_("?device=webgpu&debug=1", LOSE_GPU, short_canary)
    assert _device(page) == "webgpu"
    got = page.evaluate(ASK, [CASE["messages"], 16])
    assert got["moved"] == ["wasm"]
    assert got["ids"] == CASE["ids"][:16]
    assert CASE["text"].startswith(got["text"])
    assert _device(page) == "wasm"


def test_a_worker_that_dies_is_replaced_and_the_answer_is_the_same(open_: Callable[..., Page]) -> None:
    page = open_("?device=wasm&debug=1")
    text = _ask(page, DIE)
    assert text.count(CASE["text"][:40]) == 1
    assert _device(page) == "wasm"
    assert page.evaluate(ASK, [CASE["messages"], 5])["ids"] == CASE["ids"][:5]


def test_one_thread_then_the_server_go_on_where_wasm_fails(open_: Callable[..., Page]) -> None:
    page = open_("?device=wasm", FAIL_FROM % 20)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/chat/" in request.url else None)
    text = _ask(page)
    assert CASE["text"] in re.sub(r"\s+", " ", text)
    (request,) = asked
    begun = json.loads(request.post_data or "{}")["begun_ids"]
    assert begun == CASE["ids"][: len(begun)] != []
    assert _device(page) == "server"


@pytest.mark.complaints("ERR_FAILED")
def test_without_its_server_the_page_goes_on_by_itself(open_: Callable[..., Page]) -> None:
    open_("?device=wasm").close()  # keeps the model
    page = open_("?device=server")
    gone = re.compile(r"/(v1|models)/")
    page.route(gone, lambda route: route.abort())
    assert CASE["text"][:40] in _ask(page)
    assert _device(page) == "wasm"


def test_wrong_numbers_at_load_are_noticed(open_: Callable[..., Page]) -> None:
    """The last one: the browser keeps the manifest."""

    def other_answers(manifest: Any) -> None:
        manifest["variants"]["wasm"]["canary"]["expected"][0] += 1

    page = open_("?device=wasm", manifest=other_answers)
    assert _device(page) == "server"
    page.get_by_test_id("device").click()
    expect(page.get_by_test_id("device-wasm")).to_contain_text("wrongly")
