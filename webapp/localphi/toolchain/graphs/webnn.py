"""Gives a model folder the files that browsers run on WebNN: the same weights, written as WebNN reads them.

WebNN has no unsigned 4-bit numbers, and a graph whose MatMulNBits holds some is cut into pieces, or its
session is never made. So each becomes DequantizeLinear of signed numbers and MatMul; the numbers stay.
Shapes are fixed there, and a prompt is padded at its end: which position the logits are of is an input.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize, CannotRewrite
from localphi.models.manifest import Variant, describe_file, load_manifest, write_manifest
from localphi.toolchain.graphs.nodes import INT64
from localphi.toolchain.graphs.paged import DEVICE as SERVER
from localphi.toolchain.quantize.floatgraph import (
    attribute,
    graph_name,
    import_onnx,
    read_graph,
    with_all_positions,
)

WEBNN_NAME = "model-webnn.onnx"
DEVICE = "webnn"
LAST_POSITION = "last_position"
CONTEXT_TOKENS = 1024  # every token of an answer attends to so many, whatever there is
_UNSIGNED_ZERO = {4: 8, 8: 128}


def add_webnn_variant(folder: Path) -> Variant:
    """Write `model-webnn.onnx` and its weights beside the graph of a model folder, and list them.

    A folder that has the variant gets it anew. Raises CannotRewrite for a graph that cannot be written so.
    """
    disable_telemetry()
    manifest = load_manifest(folder)
    source = manifest.variants.get(SERVER)
    if source is None:
        raise CannotRewrite(f"{folder} has no variant {SERVER}. It has {', '.join(manifest.variants)}.")
    onnx = import_onnx()
    try:
        proto = webnn_proto(onnx.load(folder / graph_name(folder)))
    except CannotQuantize as error:
        raise CannotRewrite(error.message) from error
    weights = f"{WEBNN_NAME}.data"
    (folder / weights).unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(proto, folder / WEBNN_NAME, save_as_external_data=True, location=weights)
    graphs = (WEBNN_NAME, weights)
    written = {name: describe_file(folder / name, manifest.chunk_bytes) for name in graphs}
    variant = Variant(
        files=(*(name for name in source.files if name.endswith(".json")), *graphs),
        weights_bytes=(folder / weights).stat().st_size,
        kv_bytes_per_token=source.kv_bytes_per_token,
        canary=source.canary,
        context_length=min(CONTEXT_TOKENS, manifest.context_length),
    )
    files, variants = {**manifest.files, **written}, {**manifest.variants, DEVICE: variant}
    write_manifest(folder, replace(manifest, files=files, variants=variants))
    return variant


def let_built_graph_ask(folder: Path) -> None:
    """Let the graph that was built for WebNN compute the logits of the position that it is asked for.

    It gave those of the last one, which is padding where a prompt is read at once. Raises CannotRewrite.
    """
    manifest = load_manifest(folder)
    (name,) = (name for name in manifest.variants[DEVICE].files if name.endswith(".onnx"))
    proto = with_all_positions(read_graph(folder, name))
    nodes = list(proto.graph.node)
    _ask_for_position(proto.graph, nodes)
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    partial = folder / f"{name}.partial"
    partial.write_bytes(proto.SerializeToString(deterministic=True))
    os.replace(partial, folder / name)  # what is there may be a link
    files = {**manifest.files, name: describe_file(folder / name, manifest.chunk_bytes)}
    write_manifest(folder, replace(manifest, files=files))


def webnn_proto(proto: Any) -> Any:
    """The graph for WebNN. `proto` holds its weights, and is not changed. Raises CannotRewrite."""
    result = with_all_positions(proto)
    graph = result.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Any] = []
    for node in graph.node:
        nodes += _plain(node, weights) if node.op_type == "MatMulNBits" else [node]
    _ask_for_position(graph, nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in weights.items() if name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    return result


def _plain(node: Any, weights: dict[str, Any]) -> list[Any]:
    """A MatMulNBits as DequantizeLinear and MatMul. Adds to the weights."""
    onnx = import_onnx()
    array = onnx.numpy_helper.to_array
    bits, block = attribute(node, "bits", 4), attribute(node, "block_size", 32)
    columns, rows = attribute(node, "N", 0), attribute(node, "K", 0)
    source, packed, scales, *more = node.input
    if bits not in _UNSIGNED_ZERO or any(more[1:]):
        raise CannotRewrite(f"{node.name} has {bits} bits or inputs that WebNN has no operator for.")
    codes = _codes(array(weights[packed]), bits).reshape(columns, -1)  # (N, K), padded to whole blocks
    blocks = codes.shape[1] // block
    names = {part: f"{node.name}/{part}" for part in ("values", "scales", "zeros", "weight")}
    values = (codes - _UNSIGNED_ZERO[bits])[:, :rows].T  # (K, N)
    wide = bits == 8
    inputs = [names["values"], names["scales"]]
    if more and more[0]:
        zeros = _codes(array(weights[more[0]]), bits).reshape(columns, -1)[:, :blocks].T
        weights[names["zeros"]] = _signed(names["zeros"], zeros - _UNSIGNED_ZERO[bits], wide)
        inputs.append(names["zeros"])
    weights[names["values"]] = _signed(names["values"], values, wide)
    scale = np.ascontiguousarray(array(weights[scales]).reshape(columns, blocks).T)  # (K / block, N)
    weights[names["scales"]] = onnx.numpy_helper.from_array(scale, names["scales"])
    make = onnx.helper.make_node
    return [
        make("DequantizeLinear", inputs, [names["weight"]], names["weight"], axis=0, block_size=block),
        make("MatMul", [source, names["weight"]], [node.output[0]], node.name),
    ]


def _codes(data: NDArray[Any], bits: int) -> NDArray[Any]:
    """Unsigned numbers, of which two lie in a byte where they have 4 bits: the lower half first."""
    flat = data.reshape(-1).view(np.uint8)
    if bits == 8:
        return flat.astype(np.int16)
    return np.stack([flat & 15, flat >> 4], axis=-1).reshape(-1).astype(np.int16)


def _signed(name: str, values: NDArray[Any], wide: bool) -> Any:
    """A tensor of 8-bit numbers, or of 4-bit ones."""
    onnx = import_onnx()
    flat = np.ascontiguousarray(values).reshape(-1)
    if wide:
        return onnx.numpy_helper.from_array(flat.astype(np.int8).reshape(values.shape), name)
    halves = (flat & 15).astype(np.uint8)
    if halves.size % 2:
        halves = np.append(halves, np.uint8(0))
    raw = (halves[0::2] | (halves[1::2] << 4)).tobytes()
    return onnx.helper.make_tensor(name, onnx.TensorProto.INT4, values.shape, raw, raw=True)


def _ask_for_position(graph: Any, nodes: list[Any]) -> None:
    """Compute the head for one position only, given as an input. `nodes` is in order; adds to it.

    Keys and values that are written are then as long as those that are read, however many tokens there are.
    """
    onnx = import_onnx()
    (number,) = [i for i, node in enumerate(nodes) if "logits" in node.output]
    head = nodes[number]
    if head.op_type != "MatMul":
        raise CannotRewrite(f"The logits come from a {head.op_type}, not from a MatMul.")
    hidden, chosen = head.input[0], "/webnn/last_hidden"
    gather = onnx.helper.make_node("Gather", [hidden, LAST_POSITION], [chosen], "/webnn/Gather", axis=1)
    head.input[0] = chosen
    nodes.insert(number, gather)
    graph.input.append(onnx.helper.make_tensor_value_info(LAST_POSITION, INT64, [1]))
    for output in graph.output:
        dims = output.type.tensor_type.shape.dim
        if output.name == "logits":
            dims[1].Clear()
            dims[1].dim_value = 1
        elif len(dims) == 4:
            dims[2].dim_param = "past_sequence_length"
