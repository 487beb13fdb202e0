"""Models from the tool-chain, in the page: graphs of their own, weights in several files, growing caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from driving import ready
from localphi.chat import Message
from localphi.config import Settings, disable_telemetry
from localphi.models.manifest import load_manifest
from serving import LiveServer, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.complaints(".")]

disable_telemetry()
for _library in ("torch", "transformers", "onnx_ir"):
    pytest.importorskip(_library, reason=f"{_library} is not installed (extra 'toolchain')")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from localphi.toolchain.build.run import Job, build
    from tiny_checkpoints import TINY, building_here, write_checkpoint

    folder = tmp_path_factory.mktemp("built")
    checkpoint = write_checkpoint(folder / "hf", TINY["llama-2"])
    devices = ("server-cpu", "wasm", "webgpu-f32")
    with building_here(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("localphi.toolchain.build.recipes.SHARD_BYTES", 100_000)
        build(Job(checkpoint, folder / "tiny", devices, browser_context=128))
    return folder / "tiny"


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), model=str(model))) as server:
        yield server


@pytest.mark.parametrize("device", ["wasm", "webgpu"])
def test_a_built_model_answers_in_the_page_as_on_the_cpu(
    context: BrowserContext, server: LiveServer, model: Path, device: str
) -> None:
    from localphi.engine.prompt import render
    from localphi.engine.tokenizer import PhiTokenizer
    from localphi.toolchain.build.canary import continued, open_graph

    manifest = load_manifest(model)
    asked = [Message("system", "Be brief."), Message("user", "Hi [/INST] there")]
    ids = PhiTokenizer(model).encode(render(manifest.prompt_format, asked, None))
    expected = continued(open_graph(model, "model-web-f32.onnx"), ids, 10)
    page = context.new_page()
    page.goto(f"{server.url}/?device={device}&debug=1")
    ready(page)
    got = page.evaluate(
        "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)",
        [[{"role": message.role, "content": message.content} for message in asked], len(expected)],
    )
    assert got["device"] == device, "the canary holds, and the device is kept"
    assert got["promptIds"] == ids
    assert got["ids"] == list(expected)


def test_the_page_ends_a_conversation_at_the_context_of_the_device(
    context: BrowserContext, server: LiveServer, model: Path
) -> None:
    assert load_manifest(model).variants["wasm"].context_length == 128
    page = context.new_page()
    page.goto(f"{server.url}/?device=wasm&debug=1")
    ready(page)
    got = page.evaluate(
        "messages => window.localphiDebug.generateIds(messages, 500)", [{"role": "user", "content": "x" * 80}]
    )
    assert len(got["promptIds"]) + len(got["ids"]) <= 128
    with pytest.raises(Exception, match="the model reads 128"):
        page.evaluate(
            "messages => window.localphiDebug.generateIds(messages, 5)",
            [{"role": "user", "content": "x" * 200}],
        )


@pytest.fixture(scope="module")
def multi_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, LiveServer]]:
    """An export that cannot write its keys and values in place, and a server for it."""
    from multi_head import write_multi_head_phi

    model = write_multi_head_phi(tmp_path_factory.mktemp("multi-head"))
    with serving(Settings(home=tmp_path_factory.mktemp("home"), model=str(model))) as server:
        yield model, server


@pytest.mark.parametrize("device", ["wasm", "webgpu"])
def test_an_export_whose_cache_grows_answers_and_is_rewound(
    context: BrowserContext, multi_head: tuple[Path, LiveServer], device: str
) -> None:
    from localphi.engine.prompt import render
    from localphi.engine.tokenizer import PhiTokenizer
    from localphi.toolchain.build.canary import continued, open_graph

    model, server = multi_head
    prompt_format, tokenizer = load_manifest(model).prompt_format, PhiTokenizer(model)
    page = context.new_page()
    page.goto(f"{server.url}/?device={device}&debug=1")
    ready(page)
    for question in ("Hi there, how are you?", "Hi there, who are you?", "Hi"):
        ids = tokenizer.encode(render(prompt_format, [Message("user", question)], None))
        got = page.evaluate(
            "messages => window.localphiDebug.generateIds(messages, 10)",
            [{"role": "user", "content": question}],
        )
        assert got["device"] == device, "the canary holds, and the device is kept"
        assert got["promptIds"] == ids
        assert got["ids"] == list(continued(open_graph(model, "model.onnx"), ids, 10))
