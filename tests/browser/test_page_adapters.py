"""LoRA adapters in the browser: answers are the server's, and base, a, b, base can be had in turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
pytest.importorskip("safetensors", reason="safetensors is not installed (extra 'quantize')")

from localphi.toolchain.adapters.convert import convert_adapter

MODEL = "localphi-demo"
CREATE = "async (options) => { window.phi = await (await import('/localphi.js')).createPhi(options); }"
ASK = "async (params) => JSON.parse(JSON.stringify(await window.phi.chat.completions.create(params)))"
FAILURE = """async (params) => {
  try { await window.phi.chat.completions.create(params); return null; }
  catch (error) { return { name: error.name, kind: error.kind, message: error.message }; }
}"""
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is WebGPU?"}],
    "max_tokens": 12,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With two adapters of the demo model, which change each answer: of rank 4, of rank 2 and all sites but one."""
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


def _on_server(page: Page, server: LiveServer, **fields: Any) -> str:
    answer = page.request.post(f"{server.url}/v1/chat/completions", data={**ASKED, **fields}).json()
    return str(answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize("device", ["wasm", "webgpu"])
def test_each_answer_is_the_servers_with_the_adapter_that_it_names(
    page: Page, server: LiveServer, device: str
) -> None:
    names = (None, "one", "two")
    expected = {name: _on_server(page, server, **({"adapter": name} if name else {})) for name in names}
    assert len(set(expected.values())) == 3
    page.evaluate(CREATE, {"device": device})
    for name, cached in ((None, False), ("one", False), ("two", False), (None, False), ("one", False), ("one", True)):
        answer = page.evaluate(ASK, {**ASKED, "adapter": name})
        assert answer["choices"][0]["message"]["content"] == expected[name], name
        assert answer["timings"]["device"] == device
        assert answer["model"] == (f"{MODEL}:{name}" if name else MODEL)
        read_before = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert (read_before > 0) == cached, "what one adapter has read is not another's"
    assert page.evaluate(ASK, {**ASKED, "model": f"{MODEL}:two"})["choices"][0]["message"]["content"] == expected["two"]
