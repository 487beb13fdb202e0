"""Graphs with float16 in and out, by the page's own WebGPU code, on an adapter that computes it.

Their rounding is the device's own, and random weights put the likeliest ids close together. So the answers of
the CPU are followed, and each of their ids must be as good as the likeliest one, nearly.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import dawn
from localphi.config import disable_telemetry
from localphi.models.manifest import load_manifest
from serving import ROOT

disable_telemetry()
for _library in ("torch", "transformers", "onnx_ir"):
    pytest.importorskip(_library, reason=f"{_library} is not installed (extra 'toolchain')")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.complaints("."),
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(dawn.missing()), reason=dawn.missing()),
]

BUNDLE = """
import { build } from 'vite';
const [ssr, outDir] = process.argv.slice(-2);
const rollupOptions = { output: { entryFileNames: 'job.mjs' } };
const how = { ssr, outDir, minify: false, target: 'node20', copyPublicDir: false, rollupOptions };
await build({ configFile: false, logLevel: 'error', build: how });
"""
NEAR = 0.15  # the likeliest logits of these models are about 6
# More than 32 tokens at once, then a part of them with others behind, then a part alone.
PROMPTS = ([*range(40, 90)], [*range(40, 60), 30, 31, 32], [*range(40, 60)])
TOKENS = 6


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script")
    entry = ROOT / "static" / "tests" / "worker" / "on-dawn.ts"
    command = ["node", "--input-type=module", "-e", BUNDLE, str(entry), str(folder)]
    subprocess.run(command, cwd=ROOT / "static", check=True, timeout=120)
    return folder / "job.mjs"


@pytest.fixture(scope="module")
def group_query(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by `localphi build`: writes its keys and values in place."""
    from localphi.toolchain.build.run import Job, build
    from tiny_checkpoints import TINY, building_here, write_checkpoint

    folder = tmp_path_factory.mktemp("float16")
    checkpoint = write_checkpoint(folder / "hf", TINY["phi-3"])
    with building_here():
        build(Job(checkpoint, folder / "tiny", ("server-cpu", "webgpu-f16"), browser_context=128))
    return folder / "tiny"


@pytest.fixture(scope="module")
def multi_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Phi-3-mini's export for the web: its keys and values grow."""
    from multi_head import write_multi_head_phi

    return write_multi_head_phi(tmp_path_factory.mktemp("multi-head"), half=True)


@pytest.mark.parametrize("kind", ["group_query", "multi_head"])
def test_float16_answers_as_the_cpu_does(kind: str, script: Path, request: pytest.FixtureRequest) -> None:
    from localphi.toolchain.build.canary import continued, open_graph

    model: Path = request.getfixturevalue(kind)
    variants = load_manifest(model).variants
    reference = variants["webgpu-f16" if kind == "group_query" else "server-cpu"]
    (graph,) = (name for name in reference.files if name.endswith(".onnx"))
    answers = [continued(open_graph(model, graph), prompt, TOKENS) for prompt in PROMPTS]
    conversations = [
        {"prompt": prompt, "answer": answer} for prompt, answer in zip(PROMPTS, answers, strict=True)
    ]
    ort = ROOT / "static" / "dist" / "ort"
    job: dict[str, Any] = {
        "folder": str(model),
        "ort": str(ort),
        "variant": "webgpu-f16",
        "conversations": conversations,
    }
    steps = [step for steps in dawn.run(script, job, 600) for step in steps]
    assert len(steps) == TOKENS * len(PROMPTS)
    assert max(step["logit"] - step["logitOfAnswer"] for step in steps) < NEAR
    ids = [id for answer in answers for id in answer]
    same = sum(step["id"] == id for step, id in zip(steps, ids, strict=True))
    assert same >= 0.8 * len(ids)
