"""LoRA adapters in the browser: answers are the server's, and base, a, b, base can be had in turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from localphi.config import Settings
from localphi.models.adapters import AdapterStore
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelFolder
from lora_files import matrices, module_sizes, write_peft
from serving import DEMO, LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MODEL = "localphi-demo"
CREATE = "async (options) => { window.phi = await (await import('/localphi.js')).createPhi(options); }"
ASK = "async (params) => JSON.parse(JSON.stringify(await window.phi.chat.completions.create(params)))"
FAILURE = """async (params) => {
  try { await window.phi.chat.completions.create(params); return null; }
  catch (error) { return { kind: error.kind, message: error.message }; }
}"""
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is WebGPU?"}],
    "max_tokens": 8,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With two adapters of the demo model: one of rank 4, one of rank 2 that leaves a layer as it is."""
    pytest.importorskip("safetensors", reason="safetensors is not installed (extra 'quantize')")
    from localphi.toolchain.adapters.convert import convert_adapter

    home = tmp_path_factory.mktemp("adapters")
    demo = ModelFolder(DEMO, load_manifest(DEMO), bundled=True)
    sizes = module_sizes(DEMO)
    few = {module: size for module, size in sizes.items() if "layers.0" not in module}
    for name, changed, rank in (("one", sizes, 4), ("two", few, 2)):
        peft = write_peft(home / name, matrices(changed, rank, rank=rank, strength=0.1), r=rank)
        convert_adapter(AdapterStore(home), demo, peft, name)
    with serving(Settings(home=home)) as server:
        yield server


@pytest.fixture
def page(context: BrowserContext, server: LiveServer) -> Page:
    page = context.new_page()
    page.goto(f"{server.url}/healthz")
    return page


def _on_server(page: Page, server: LiveServer, adapter: str | None) -> str:
    body = {**ASKED, "adapter": adapter} if adapter else ASKED
    answer = page.request.post(f"{server.url}/v1/chat/completions", data=body).json()
    return str(answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("device", "turns"),
    [("wasm", (None, "one", "two", None, "one", "one")), ("webgpu", ("one", None))],
)
def test_each_answer_is_the_servers_with_the_adapter_that_it_names(
    page: Page, server: LiveServer, device: str, turns: tuple[str | None, ...]
) -> None:
    expected = {name: _on_server(page, server, name) for name in (None, "one", "two")}
    assert len(set(expected.values())) == 3
    page.evaluate(CREATE, {"device": device})
    before: str | None = "nothing"
    for name in turns:
        answer = page.evaluate(ASK, {**ASKED, "model": f"{MODEL}:{name}" if name else MODEL})
        assert answer["choices"][0]["message"]["content"] == expected[name], name
        assert answer["timings"]["device"] == device
        assert answer["model"] == (f"{MODEL}:{name}" if name else MODEL)
        cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert (cached > 0) == (name == before), "what one adapter has read is not another's"
        before = name


def _answer_otherwise(context: BrowserContext, address: str, change: Callable[[bytes], bytes]) -> None:
    """Change what the server answers at an address."""

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=change(response.body()))

    context.route(address, answer)


def _of_other_weights(listed: bytes) -> bytes:
    document = json.loads(listed)
    document["adapters"][1]["base"] = "0" * 64
    return json.dumps(document).encode()


def test_what_cannot_be_used_is_told_and_the_next_is_answered(
    context: BrowserContext, page: Page, server: LiveServer
) -> None:
    _answer_otherwise(context, f"**/adapters/{MODEL}", _of_other_weights)
    _answer_otherwise(context, f"**/adapters/{MODEL}/one?*", lambda file: file[:-1] + bytes([file[-1] ^ 1]))
    page.evaluate(CREATE, {"device": "wasm"})
    for name, message in (
        ("three", "localphi-demo has no adapter 'three'; it has one, two"),
        ("two", "the adapter 'two' was made for other weights than those of localphi-demo in this browser"),
        ("one", "the weights of the adapter 'one' came damaged: they have another hash"),
    ):
        failure = page.evaluate(FAILURE, {**ASKED, "adapter": name})
        assert failure == {"kind": "adapter", "message": message}
    answer = page.evaluate(ASK, ASKED)
    assert answer["choices"][0]["message"]["content"] == _on_server(page, server, None)
    assert answer["timings"]["device"] == "wasm"


def _without_graph(manifest: bytes) -> bytes:
    document = json.loads(manifest)
    del document["variants"]["wasm"]["lora"]
    document["variants"]["wasm"]["files"].remove("model-lora-web.onnx")
    return json.dumps(document).encode()


def test_where_the_model_takes_no_adapters_the_server_answers_that_one(
    context: BrowserContext, page: Page, server: LiveServer
) -> None:
    _answer_otherwise(context, "**/localphi.json", _without_graph)
    page.evaluate(CREATE, {"device": "wasm"})
    answer = page.evaluate(ASK, {**ASKED, "adapter": "one"})
    assert answer["choices"][0]["message"]["content"] == _on_server(page, server, "one")
    assert answer["timings"]["device"] == "server"
    assert page.evaluate(ASK, ASKED)["timings"]["device"] == "wasm"
    page.evaluate("phi.dispose()")
    page.evaluate(CREATE, {"device": "wasm", "server": False})
    failure = page.evaluate(FAILURE, {**ASKED, "adapter": "one"})
    assert failure == {"kind": "no-lora", "message": "the model's files for wasm take no adapters"}
