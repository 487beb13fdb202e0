"""Two hundred turns in one worker: nothing grows, neither on the GPU nor in the heap."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, Route

from localphi.config import Settings
from localphi.models.manifest import Variant, write_manifest
from serving import LiveServer, serving
from tiny_phi import PHI_3, tiny_phi

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150), pytest.mark.complaints(".")]

TURNS, CONVERSATIONS = 10, 20
SLACK_BYTES = 400_000  # what V8 may hold on to, for two hundred turns together

# Buffers that were neither destroyed nor collected, and their bytes.
COUNT_BUFFERS = """
self.live = new Map();
if (self.GPUDevice) {
  let last = 0;
  const gone = new FinalizationRegistry((id) => self.live.delete(id));
  const create = GPUDevice.prototype.createBuffer;
  const destroy = GPUBuffer.prototype.destroy;
  const ids = new WeakMap();
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = create.call(this, descriptor);
    self.live.set(++last, descriptor.size);
    ids.set(buffer, last);
    gone.register(buffer, last);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    self.live.delete(ids.get(this));
    return destroy.call(this);
  };
}
"""
BUFFERS = "() => ({ count: self.live.size, bytes: [...self.live.values()].reduce((a, b) => a + b, 0) })"
TALK = """async (turns) => {
  const messages = [];
  for (let turn = 0; turn < turns; turn++) {
    messages.push({ role: 'user', content: `turn ${turn} of many` });
    const { choices } = await phi.chat.completions.create({ messages, max_tokens: 1, temperature: 0.5 });
    messages.push(choices[0].message);
  }
  return messages.length;
}"""


@pytest.fixture(scope="module")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp("home")
    folder = home / "models" / "tiny"
    folder.mkdir(parents=True)
    manifest = replace(tiny_phi(folder, PHI_3), context_length=2048)
    variant = Variant(tuple(manifest.files), 100_000, 64, None)
    variants = {**manifest.variants, "wasm": variant, "webgpu-f32": variant}
    write_manifest(folder, replace(manifest, variants=variants))
    with serving(Settings(home=home, model="tiny")) as server:
        yield server


class WorkerHeap:
    """Bytes that V8 holds in the page's only model worker, after a collection."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._workers: list[str] = []
        self._answers: dict[int, dict[str, float]] = {}
        self._session.on("Target.attachedToTarget", lambda event: self._workers.append(event["sessionId"]))
        self._session.on("Target.receivedMessageFromTarget", self._received)
        options = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        self._session.send("Target.setAutoAttach", options)

    def _received(self, event: dict[str, str]) -> None:
        message = json.loads(event["message"])
        if "result" in message and "id" in message:
            self._answers[message["id"]] = message["result"]

    def bytes(self) -> float:
        self._ask("HeapProfiler.collectGarbage")
        self._ask("HeapProfiler.collectGarbage")
        used = self._ask("Runtime.getHeapUsage")
        return used["usedSize"] + used.get("backingStorageSize", 0)

    def _ask(self, method: str) -> dict[str, float]:
        number = len(self._answers) + 1
        message = json.dumps({"id": number, "method": method})
        (worker, *_) = self._workers
        self._session.send("Target.sendMessageToTarget", {"message": message, "sessionId": worker})
        for _ in range(500):
            if number in self._answers:
                return self._answers[number]
            self._page.wait_for_timeout(20)
        raise AssertionError(f"the worker did not answer {method}")


@pytest.mark.parametrize("device", ["wasm", "webgpu"])
def test_two_hundred_turns_leave_nothing_behind(
    context: BrowserContext, tiny_server: LiveServer, device: str
) -> None:
    def patch(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=COUNT_BUFFERS + response.text())

    context.route(re.compile(r"/assets/main-[^/]+\.js$"), patch)
    page = context.new_page()
    page.goto(f"{tiny_server.url}/healthz")
    heap = WorkerHeap(page)
    page.evaluate(
        "async (device) => { window.phi = await (await import('/localphi.js')).createPhi({ device }); }",
        device,
    )
    worker = next(each for each in page.workers if "/assets/main-" in each.url)
    sizes, buffers = [], []
    for _ in range(CONVERSATIONS):
        assert page.evaluate(TALK, TURNS) == 2 * TURNS
        sizes.append(heap.bytes())
        buffers.append(worker.evaluate(BUFFERS))
    assert sizes[-1] - sizes[4] < SLACK_BYTES, sizes
    assert buffers[-1]["count"] <= buffers[4]["count"], buffers
    assert buffers[-1]["bytes"] <= buffers[4]["bytes"], buffers
    assert (buffers[-1]["count"] > 0) == (device == "webgpu")
