"""Gives a model folder the graphs that LoRA adapters are put into, one per request, over the same weights.

The server's has A and B of each layer as inputs with a default of rank 0, the browsers' as inputs that must
be given: there zeros of rank 1 stand for none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize, CannotRewrite
from localphi.models.lora import lora_inputs, lora_overlay
from localphi.models.manifest import (
    LoraGraph,
    Manifest,
    Variant,
    describe_file,
    load_manifest,
    write_manifest,
)
from localphi.toolchain.graphs.paged import DEVICE
from localphi.toolchain.quantize.floatgraph import attribute, graph_name, import_onnx, read_graph
from localphi.toolchain.quantize.folder import continued

LORA_NAME = "model-lora.onnx"
BROWSER_SUFFIX = "-lora-web"
_BROWSER_DEVICES = ("webgpu-f16", "webgpu-f32", "wasm")  # shapes are fixed on WebNN
_SITE = re.compile(r"/?model/(layers\.\d+)/(attn|mlp)/(\w+)/MatMul(_Q\d+)?$")
_PREFIX = "/lora"
_PROMPT, _ANSWER_TOKENS = (5, 6, 7, 8), 6
_MOST_INSIDE_BYTES = 2**20  # of weights in a graph file, which another graph would have once more


@dataclass(frozen=True)
class AddedGraphs:
    """server: the graph for the server. browsers: devices that have one. passed_over: why others do not."""

    server: LoraGraph
    browsers: tuple[str, ...]
    passed_over: Mapping[str, str]

    def told(self) -> str:
        """For people: what can be adapted, and where."""
        where = ", ".join(("the server", *self.browsers))
        lines = [f"{len(self.server.sites)} layers can be adapted, on {where}"]
        lines += [f"not on {device}: {reason}" for device, reason in self.passed_over.items()]
        return "\n".join(lines)


def add_lora_graphs(folder: Path) -> AddedGraphs:
    """Write graphs for adapters beside the graphs of a model folder, and list them in its localphi.json.

    The server's is tried before it is listed: without an adapter it answers as the first graph does. What a
    browser's answers is for its canary to say. A folder that has them gets them anew. Raises CannotRewrite
    for a server's graph without layers that could be adapted; browsers' graphs are passed over.
    """
    disable_telemetry()
    manifest = load_manifest(folder)
    if DEVICE not in manifest.variants:
        raise CannotRewrite(f"{folder} has no variant {DEVICE}. It has {', '.join(manifest.variants)}.")
    manifest = _without_lora(manifest)
    server = _add_server_graph(folder, manifest.variants[DEVICE])
    loras, passed_over = {DEVICE: server}, {}
    for device in _BROWSER_DEVICES:
        if device in manifest.variants:
            try:
                loras[device] = _add_browser_graph(folder, manifest.variants[device], server)
            except (CannotRewrite, CannotQuantize) as error:
                passed_over[device] = error.message
    write_manifest(folder, _with_lora(folder, manifest, loras))
    return AddedGraphs(server, tuple(device for device in loras if device != DEVICE), passed_over)


def _without_lora(manifest: Manifest) -> Manifest:
    """As it was before there were graphs for adapters."""
    graphs = {variant.lora.graph for variant in manifest.variants.values() if variant.lora}
    variants = {
        device: replace(variant, lora=None, files=tuple(name for name in variant.files if name not in graphs))
        for device, variant in manifest.variants.items()
    }
    files = {name: entry for name, entry in manifest.files.items() if name not in graphs}
    return replace(manifest, files=files, variants=variants)


def _with_lora(folder: Path, manifest: Manifest, loras: Mapping[str, LoraGraph]) -> Manifest:
    files = dict(manifest.files)
    for lora in loras.values():
        files[lora.graph] = describe_file(folder / lora.graph, manifest.chunk_bytes)
    variants = {
        device: replace(variant, lora=loras[device], files=(*variant.files, loras[device].graph))
        if device in loras
        else variant
        for device, variant in manifest.variants.items()
    }
    return replace(manifest, files=files, variants=variants)


def _add_server_graph(folder: Path, variant: Variant) -> LoraGraph:
    partial = folder / f"{LORA_NAME}.partial"
    try:
        proto, sites = lora_proto(read_graph(folder))
        partial.write_bytes(proto.SerializeToString(deterministic=True))
        prompt = variant.canary.prompt if variant.canary else _PROMPT
        _compare(folder, partial.name, prompt)
        os.replace(partial, folder / LORA_NAME)
    except CannotQuantize as error:
        raise CannotRewrite(error.message) from error
    finally:
        partial.unlink(missing_ok=True)
    return LoraGraph(LORA_NAME, sites)


def _add_browser_graph(folder: Path, variant: Variant, server: LoraGraph) -> LoraGraph:
    """The graph of a browser's variant with adapters as true inputs: ONNX Runtime Web gives no others."""
    name = _graph_of(folder, variant)
    graph, source = folder / name, read_graph(folder, name)
    if sum(len(tensor.raw_data) for tensor in source.graph.initializer) > _MOST_INSIDE_BYTES:
        raise CannotRewrite(f"{graph.name} holds its weights itself; a second graph would have them again.")
    proto, sites = lora_proto(source, defaults=False)
    if sites != server.sites:
        raise CannotRewrite(f"{graph.name} has other layers than the server's graph has.")
    target = graph.with_name(f"{graph.stem}{BROWSER_SUFFIX}.onnx")
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(proto.SerializeToString(deterministic=True))
    os.replace(partial, target)
    return LoraGraph(target.relative_to(folder).as_posix(), sites)


def _graph_of(folder: Path, variant: Variant) -> str:
    """As the page finds it: what genai_config.json names, else the only one. Raises CannotRewrite."""
    named = graph_name(folder)
    graphs = [name for name in variant.files if name.endswith(".onnx")]
    if named in graphs or len(graphs) == 1:
        return named if named in graphs else graphs[0]
    raise CannotRewrite(f"A variant for browsers needs one graph, and lists {', '.join(graphs) or 'none'}.")


def site_of(name: str) -> str | None:
    """The site of a linear layer, by the name of its node; None for other nodes."""
    match = _SITE.match(name)
    return f"{match[1]}.{match[2]}.{match[3]}" if match else None


def lora_proto(proto: Any, defaults: bool = True) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The graph with inputs for adapters, and its sites. `proto` is not changed.

    defaults: whether inputs may be left out. Raises CannotRewrite when no linear layer of a decoder is found.
    """
    onnx = import_onnx()
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sites: dict[str, tuple[int, int]] = {}
    nodes: list[Any] = []
    for node in graph.node:
        nodes.append(node)
        sizes = _sizes(node, weights)
        site = site_of(node.name)
        if site is None or sizes is None:
            continue
        sites[site] = sizes
        nodes += _branch(onnx, node, site)
        kind = _kind(node, weights)
        _add_inputs(onnx, graph, site, sizes, kind)
        if defaults:
            _add_defaults(onnx, graph, site, sizes, kind)
    if not sites:
        raise CannotRewrite("The graph has no linear layers named as in a decoder of ORT GenAI's builder.")
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return result, sites


def _sizes(node: Any, weights: dict[str, Any]) -> tuple[int, int] | None:
    """Inputs and outputs of a linear layer, None for any other node."""
    if node.op_type == "MatMulNBits":
        return int(attribute(node, "K", 0)), int(attribute(node, "N", 0))
    if node.op_type == "MatMul" and node.input[1] in weights:
        rows, columns = weights[node.input[1]].dims
        return int(rows), int(columns)
    return None


def _kind(node: Any, weights: dict[str, Any]) -> int:
    """The type of the numbers that a linear layer takes and gives: that of its scales, or of its weight."""
    return int(weights[node.input[2 if node.op_type == "MatMulNBits" else 1]].data_type)


def _branch(onnx: Any, node: Any, site: str) -> list[Any]:
    """What is added to the output of a layer, behind it: its name then is that of the sum."""
    down, up = lora_inputs(site)
    output, base = node.output[0], f"{_PREFIX}/{site}/base"
    node.output[0] = base
    low, change = f"{_PREFIX}/{site}/low", f"{_PREFIX}/{site}/change"
    make = onnx.helper.make_node
    return [
        make("MatMul", [node.input[0], down], [low], name=f"{low}/MatMul"),
        make("MatMul", [low, up], [change], name=f"{change}/MatMul"),
        make("Add", [base, change], [output], name=f"{_PREFIX}/{site}/Add"),
    ]


def _add_inputs(onnx: Any, graph: Any, site: str, sizes: tuple[int, int], kind: int) -> None:
    rank = f"rank.{site}"
    for name, dims in zip(lora_inputs(site), ((sizes[0], rank), (rank, sizes[1])), strict=True):
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, dims))


def _add_defaults(onnx: Any, graph: Any, site: str, sizes: tuple[int, int], kind: int) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    for name, shape in zip(lora_inputs(site), ((sizes[0], 0), (0, sizes[1])), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, dtype), name))


def _compare(folder: Path, graph: str, prompt: Sequence[int]) -> None:
    """Raises CannotRewrite when the graph without an adapter answers otherwise, or does not run."""
    try:
        expected = continued(folder, prompt, _ANSWER_TOKENS)
        answer = continued(folder, prompt, _ANSWER_TOKENS, overlay=lora_overlay(graph))
    except (CannotQuantize, RuntimeError) as error:
        raise CannotRewrite(f"ONNX Runtime GenAI cannot run the graph of {folder}: {error}") from error
    if answer != expected:
        raise CannotRewrite(
            f"The graph for adapters of {folder} answers {list(answer)} without one, where the first graph "
            f"answers {list(expected)}. It was not added; please report it with the model's architecture."
        )
