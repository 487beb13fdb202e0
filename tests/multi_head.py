"""A tiny Phi-3 exported with MultiHeadAttention, as Phi-3-mini's and Phi-3.5's exports for the web are.

Its keys and values come out as new, longer tensors, and it wants to be told the positions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from localphi.models.manifest import Canary, describe_file, write_manifest
from localphi.toolchain.build.canary import canary_prompt, continued, open_graph
from localphi.toolchain.build.processes import run_python
from localphi.toolchain.quantize.run import source_model
from tiny_checkpoints import TINY, write_checkpoint

CONTEXT = 256
GRAPH = "model.onnx"


HALF_GRAPH = "model-web-f16.onnx"


def write_multi_head_phi(folder: Path, *, half: bool = False) -> Path:
    """A model folder for WASM and WebGPU, in float32, with a canary of ONNX Runtime on the CPU.

    half: beside it, for WebGPU, the export as it was, in float16; the CPU cannot run that one.
    """
    import onnx

    made, out = folder / "float16", folder / "multi-head-phi"
    checkpoint = write_checkpoint(folder / "hf", TINY["phi-3"])
    arguments = [
        "-i",
        str(checkpoint),
        "-o",
        str(made),
        "-c",
        str(folder / "cache"),
        "-p",
        "fp16",
        "-e",
        "cpu",
    ]
    run_python(["onnxruntime_genai.models.builder", *arguments], folder / "log", "building the graph")
    proto = onnx.load(str(made / GRAPH))
    assert "MultiHeadAttention" in {node.op_type for node in proto.graph.node}
    _widen(proto)
    out.mkdir()
    onnx.save(
        proto, str(out / GRAPH), save_as_external_data=True, location=f"{GRAPH}.data", size_threshold=256
    )
    for path in made.iterdir():
        if path.suffix == ".json":
            (out / path.name).write_bytes(path.read_bytes())
    manifest = source_model(folder, str(out), "phi-3").manifest
    prompt = canary_prompt(out, manifest.prompt_format, CONTEXT)
    canary = Canary(prompt, continued(open_graph(out, GRAPH), prompt))
    variant = replace(manifest.variants["server-cpu"], canary=canary)
    variants = dict.fromkeys(("server-cpu", "wasm", "webgpu-f32"), variant)
    files = dict(manifest.files)
    if half:
        onnx.save(onnx.load(str(made / GRAPH)), str(out / HALF_GRAPH))
        files[HALF_GRAPH] = describe_file(out / HALF_GRAPH)
        small = tuple(name for name in variant.files if name.endswith(".json"))
        variants["webgpu-f16"] = replace(variant, files=(*small, HALF_GRAPH), canary=None)
    write_manifest(out, replace(manifest, files=files, variants=variants))
    return out


def _widen(proto: Any) -> None:
    """From float16 to float32, which processors and software GPUs compute with."""
    from onnx import TensorProto, numpy_helper

    def widened(tensor: Any) -> Any:
        return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)

    graph = proto.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(widened(tensor))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
            attribute.t.CopyFrom(widened(attribute.t))
