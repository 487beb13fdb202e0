"""The OpenVINO backend and the conversion it needs, on the demo model, in this process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import (
    ChatRequest,
    Chunk,
    Finished,
    JsonFormat,
    Message,
    NamedTool,
    RawPrompt,
    Sampling,
    Tool,
)
from localphi.config import disable_telemetry
from localphi.engine.base import Backend
from localphi.errors import ContextLengthExceeded, EngineFailed, UnsupportedParameter
from localphi.models.manifest import OPENVINO_DEVICE, load_manifest
from localphi.models.store import ModelFolder, find_damage
from serving import DEMO

disable_telemetry()

pytest.importorskip("openvino_genai", reason="OpenVINO GenAI is not installed (extra 'openvino')")

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first
from localphi.engine.openvino import OpenvinoBackend  # noqa: E402
from localphi.toolchain.openvino.convert import convert  # noqa: E402

QUESTIONS = ("What is localphi?", "What is WebGPU?", "How do I pull a model?", "Hello", "What is a KV cache?")
QUESTION = ChatRequest((Message("user", QUESTIONS[0]),), max_tokens=60)
Told = tuple[str, list[int], Finished]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo, made ready for OpenVINO."""
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'openvino')")
    folder = tmp_path_factory.mktemp("models") / "demo"
    shutil.copytree(DEMO, folder)
    convert(folder)
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path) -> OpenvinoBackend:
    return OpenvinoBackend(folder, load_manifest(folder), 2, 4, 2**28)


@pytest.fixture(scope="module")
def genai() -> GeneratorBackend:
    return GeneratorBackend(DEMO, load_manifest(DEMO), 2, 4, 2**30)


def _run(backend: Backend, *requests: ChatRequest) -> list[Told]:
    """Text, ids and end of each request, all submitted before the first step."""
    texts = [""] * len(requests)
    ids: list[list[int]] = [[] for _ in requests]
    ends: dict[int, Finished] = {}
    for number, request in enumerate(requests):
        backend.submit(number, request)
    while backend.busy:
        for number, event in backend.step():
            if isinstance(event, Chunk):
                texts[number] += event.text
                ids[number] += event.token_ids
            elif isinstance(event, Finished):
                ends[number] = event
            else:
                raise AssertionError(event)
    return [(texts[number], ids[number], ends[number]) for number in range(len(requests))]


def _asked(texts: Sequence[str], **rest: Any) -> list[ChatRequest]:
    return [ChatRequest((Message("user", text),), max_tokens=60, **rest) for text in texts]


def test_converting_leaves_a_whole_model_with_one_variant_more(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert not find_damage(ModelFolder(folder, manifest, False))
    assert set(manifest.variants) == {*load_manifest(DEMO).variants, OPENVINO_DEVICE}
    assert manifest.server_variant == load_manifest(DEMO).server_variant
    assert "openvino/openvino_model.xml" in manifest.variants[OPENVINO_DEVICE].files


def test_greedy_answers_are_those_of_onnx_runtime(backend: Backend, genai: Backend) -> None:
    requests = _asked(QUESTIONS)
    for mine, theirs in zip(_run(backend, *requests), _run(genai, *requests), strict=True):
        assert mine == theirs


def test_the_canary_of_the_demo_holds(backend: Backend, folder: Path) -> None:
    canary = load_manifest(folder).variants[OPENVINO_DEVICE].canary
    assert canary is not None
    ((_, ids, _),) = _run(backend, ChatRequest(RawPrompt(canary.prompt), max_tokens=len(canary.expected)))
    assert tuple(ids) == canary.expected


def test_a_repetition_penalty_means_the_same_as_elsewhere(backend: Backend, genai: Backend) -> None:
    request = replace(QUESTION, sampling=Sampling(repetition_penalty=4.0))
    assert _run(backend, request)[0][1] == _run(genai, request)[0][1]
    assert _run(backend, request)[0][1] != _run(backend, QUESTION)[0][1]


def test_more_requests_than_places_are_all_answered(backend: Backend) -> None:
    alone = [_run(backend, request)[0] for request in _asked(QUESTIONS)]
    assert _run(backend, *_asked(QUESTIONS), *_asked(QUESTIONS))[:5] == alone


def test_stop_strings_are_taken_out_and_the_pipeline_goes_on(backend: Backend) -> None:
    ((text, _, _),) = _run(backend, QUESTION)
    stop = text[10:14]
    ((cut, _, end),) = _run(backend, replace(QUESTION, stop=(stop,)))
    assert (cut, end.reason) == (text[: text.index(stop)], "stop")
    assert _run(backend, QUESTION)[0][0] == text


def test_the_end_can_be_ignored_and_max_tokens_counts(backend: Backend) -> None:
    ((_, ids, end),) = _run(backend, replace(QUESTION, max_tokens=200))
    assert end.reason == "stop"
    ((_, longer, end),) = _run(backend, replace(QUESTION, max_tokens=150, ignore_end=True))
    assert (end.reason, len(longer), end.usage.completion_tokens) == ("length", 150, 150)
    assert longer[: len(ids)] == ids


def test_a_cancelled_request_is_forgotten_at_work_and_waiting(backend: Backend) -> None:
    for number, request in enumerate(_asked(QUESTIONS, ignore_end=True)):
        backend.submit(number, request)
    backend.step()
    assert backend.active == 4
    for number in (0, 2, 4, 99):
        backend.cancel(number)
    seen = set()
    while backend.busy:
        seen |= {number for number, _ in backend.step()}
    assert seen == {1, 3}
    assert backend.active == 0


def test_sampling_differs_without_a_seed_and_repeats_with_one(backend: Backend) -> None:
    def draw(seed: int | None) -> list[int]:
        sampling = Sampling(temperature=2.0, top_k=50, seed=seed)
        return _run(backend, replace(QUESTION, sampling=sampling, ignore_end=True))[0][1]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) != draw(None)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("tools", {"tools": (Tool("f", "", "{}"),)}),
        ("tools", {"tools": (Tool("f", "", "{}"),), "tool_choice": NamedTool("f")}),
        ("response_format", {"answer_format": JsonFormat()}),
        ("logprobs", {"top_logprobs": 0}),
        ("logit_bias", {"sampling": Sampling(logit_bias=((1, 5.0),))}),
        ("presence_penalty", {"sampling": Sampling(presence_penalty=0.5)}),
        ("frequency_penalty", {"sampling": Sampling(frequency_penalty=-0.5)}),
    ],
)
def test_what_openvino_cannot_do_is_refused_by_name(
    backend: Backend, name: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedParameter, match=f"'{name}'"):
        backend.submit(0, replace(QUESTION, **fields))
    assert not backend.busy


def test_tools_that_may_not_be_called_are_no_hindrance(backend: Backend) -> None:
    tool = Tool("f", "", '{"type": "object", "properties": {}}')
    assert _run(backend, replace(QUESTION, tools=(tool,), tool_choice="none"))[0][2].reason in (
        "stop",
        "length",
    )


def test_a_prompt_beyond_the_context_is_told_with_both_numbers(backend: Backend) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        backend.submit(0, ChatRequest(RawPrompt(tuple(range(300, 400)) * 21)))
    assert (caught.value.prompt_tokens, caught.value.context_length) == (2100, 2048)


def test_a_model_without_an_ir_says_how_to_make_it() -> None:
    with pytest.raises(EngineFailed, match=r"no files for OpenVINO.*localphi convert"):
        OpenvinoBackend(DEMO, load_manifest(DEMO), 2, 4, 2**28)


def test_importing_openvino_writes_no_client_id(tmp_path: Path) -> None:
    """Left alone, it writes one into the home folder at once, and has a thread for sending things off."""
    code = (
        "import sys; from localphi.config import disable_telemetry; disable_telemetry()\n"
        "import openvino, openvino_genai, threading\n"
        "assert threading.active_count() == 1\n"
        "assert not sys.modules['openvino_telemetry']"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
    assert not list(tmp_path.iterdir())


def test_a_folder_can_be_converted_again(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    assert convert(again) == load_manifest(folder)
    assert json.loads((again / "openvino" / "properties.json").read_text())["KV_CACHE_PRECISION"] == "f32"
