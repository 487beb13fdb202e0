"""A model folder, made ready for OpenVINO: the IR in `openvino/`, and a variant in the manifest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from localphi.config import disable_telemetry
from localphi.errors import CannotConvert, ToolchainMissing
from localphi.models.manifest import (
    OPENVINO_DEVICE,
    Manifest,
    Variant,
    describe_file,
    load_manifest,
    write_manifest,
)

OPENVINO_DIR = "openvino"
MODEL_FILE, WEIGHTS_FILE = f"{OPENVINO_DIR}/openvino_model.xml", f"{OPENVINO_DIR}/openvino_model.bin"
PROPERTIES_FILE = f"{OPENVINO_DIR}/properties.json"
EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "KV_CACHE_PRECISION": "f32",
}
"""For graphs that compute in float32 elsewhere, too: the same tokens as ONNX Runtime."""
FAST = {"KV_CACHE_PRECISION": "u8"}
"""For graphs of accuracy level 4, which round activations elsewhere, too; the rest is OpenVINO's choice."""
_SCALE_BYTES = 8  # scale and zero point of a row of an 8 bit KV cache


def convert(folder: Path) -> Manifest:
    """Write `openvino/` into a model folder, and its variant into the manifest, which is returned.

    Raises CannotConvert for a graph that is not understood, ToolchainMissing without onnx or openvino.
    """
    disable_telemetry()
    onnx, openvino = _libraries()
    manifest = load_manifest(folder)
    if manifest.server_variant is None:
        raise CannotConvert(f"The model '{manifest.id}' has no graph for the server that could be converted.")
    settings = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
    path = folder / settings["filename"]
    graph = onnx.load(path, load_external_data=False).graph
    exact = _accuracy_level(graph) < 4

    from localphi.toolchain.openvino.graph import Converter

    partial = folder / f".{OPENVINO_DIR}.converting"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        model = Converter(graph, path.parent).model()
        openvino.save_model(model, partial / Path(MODEL_FILE).name, compress_to_fp16=False)
        properties = json.dumps(EXACT if exact else FAST, indent=1) + "\n"
        (partial / Path(PROPERTIES_FILE).name).write_text(properties, encoding="utf-8")
        shutil.rmtree(folder / OPENVINO_DIR, ignore_errors=True)
        partial.rename(folder / OPENVINO_DIR)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    manifest = _described(folder, manifest, settings, exact, _window(graph))
    write_manifest(folder, manifest)
    return manifest


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
    except ImportError as error:
        raise ToolchainMissing("onnx", "quantize") from error
    try:
        import openvino
    except ImportError as error:
        raise ToolchainMissing("openvino", "openvino") from error
    return onnx, openvino


def _accuracy_level(graph: Any) -> int:
    """The least of the quantized layers, 0 where there are none or nothing is said."""
    levels = [
        next((attribute.i for attribute in node.attribute if attribute.name == "accuracy_level"), 0)
        for node in graph.node
        if node.op_type == "MatMulNBits"
    ]
    return min(levels, default=0)


def _window(graph: Any) -> int | None:
    """How many tokens a token sees at the most, None for all. The IR has no window, and goes only so far."""
    windows = [
        attribute.i
        for node in graph.node
        if node.op_type == "GroupQueryAttention"
        for attribute in node.attribute
        if attribute.name == "local_window_size" and attribute.i > 0
    ]
    return min(windows, default=None)


def _described(
    folder: Path, manifest: Manifest, settings: dict[str, Any], exact: bool, window: int | None
) -> Manifest:
    files = {name: describe_file(folder / name) for name in (MODEL_FILE, WEIGHTS_FILE, PROPERTIES_FILE)}
    server = manifest.server_variant
    assert server is not None
    rows = 2 * settings["num_hidden_layers"] * settings["num_key_value_heads"]
    size = settings["head_size"]
    variant = Variant(
        files=("genai_config.json", "tokenizer.json", "tokenizer_config.json", *files),
        weights_bytes=files[WEIGHTS_FILE].size,
        kv_bytes_per_token=rows * (size * 4 if exact else size + _SCALE_BYTES),
        canary=server.canary if exact else None,
        context_length=window,
    )
    return replace(
        manifest,
        files={**manifest.files, **files},
        variants={**manifest.variants, OPENVINO_DEVICE: variant},
    )
