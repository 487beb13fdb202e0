from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localphi.chat import ChatRequest, Message
from localphi.engine.base import WorkerSpec
from localphi.engine.client import EngineClient
from localphi.engine.queueing import Places
from localphi.errors import EngineFailed, ModelDamaged
from serving import DEMO

ASK = ChatRequest((Message("user", "hi"),), max_tokens=2)


def _engine(folder: Path) -> EngineClient:
    return EngineClient(WorkerSpec("localphi-demo", folder, False, "generator", 1, 4, 2**30), Places(4))


def test_a_flipped_byte_is_named_with_the_repair_command_and_nothing_else_breaks(demo_copy: Path) -> None:
    weights = demo_copy / "model.onnx.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    engine = _engine(demo_copy)
    try:
        with pytest.raises(ModelDamaged, match=r"model\.onnx\.data.*localphi models repair"):
            engine.submit(ASK)
        weights.write_bytes(whole)
        with engine.submit(ASK) as answer:
            assert list(answer)
    finally:
        engine.close()


def test_a_model_for_the_browser_only_is_refused_in_words(demo_copy: Path) -> None:
    path = demo_copy / "localphi.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["variants"]["server-cpu"]
    path.write_text(json.dumps(document), encoding="utf-8")
    engine = _engine(demo_copy)
    try:
        with pytest.raises(EngineFailed, match="no files for the server"):
            engine.submit(ASK)
    finally:
        engine.close()


def test_no_device_id_is_written_and_telemetry_stays_off(tmp_path: Path) -> None:
    """The wheels write ~/.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid unless told not to."""
    code = "import sys; from localphi.cli import main; sys.argv = ['localphi', 'chat', 'hello']; main()"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert written == []


def test_the_demo_canary_is_what_the_engine_generates() -> None:
    from localphi.config import disable_telemetry

    disable_telemetry()
    import onnxruntime_genai as og

    from localphi.models.manifest import load_manifest

    canary = load_manifest(DEMO).variants["server-cpu"].canary
    assert canary
    model = og.Model(str(DEMO))
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(canary.prompt) + len(canary.expected), do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(list(canary.prompt))
    while not generator.is_done():
        generator.generate_next_token()
    assert tuple(generator.get_sequence(0)[len(canary.prompt) :]) == canary.expected
