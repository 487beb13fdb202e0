"""Gives a model folder the graph that LoRA adapters are put into, one per request, over the same weights."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize, CannotRewrite
from localphi.models.lora import lora_inputs, lora_overlay
from localphi.models.manifest import LoraGraph, describe_file, load_manifest, write_manifest
from localphi.toolchain.graphs.paged import DEVICE
from localphi.toolchain.quantize.floatgraph import attribute, import_onnx, read_graph
from localphi.toolchain.quantize.folder import continued

LORA_NAME = "model-lora.onnx"
_SITE = re.compile(r"/?model/(layers\.\d+)/(attn|mlp)/(\w+)/MatMul(_Q\d+)?$")
_PREFIX = "/lora"
_PROMPT, _ANSWER_TOKENS = (5, 6, 7, 8), 6


def add_lora_graph(folder: Path) -> LoraGraph:
    """Write `model-lora.onnx` beside the graph of a model folder, and list it in its localphi.json.

    Without an adapter it computes the same numbers, which is tried before it is listed. A folder that has one
    gets it anew. Raises CannotRewrite for a graph without layers that could be adapted.
    """
    disable_telemetry()
    manifest = load_manifest(folder)
    variant = manifest.variants.get(DEVICE)
    if variant is None:
        raise CannotRewrite(f"{folder} has no variant {DEVICE}. It has {', '.join(manifest.variants)}.")
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
    lora = LoraGraph(LORA_NAME, sites)
    names = (*(name for name in variant.files if name != LORA_NAME), LORA_NAME)
    files = {**manifest.files, LORA_NAME: describe_file(folder / LORA_NAME, manifest.chunk_bytes)}
    variants = {**manifest.variants, DEVICE: replace(variant, files=names, lora=lora)}
    write_manifest(folder, replace(manifest, files=files, variants=variants))
    return lora


def site_of(name: str) -> str | None:
    """The site of a linear layer, by the name of its node; None for other nodes."""
    match = _SITE.match(name)
    return f"{match[1]}.{match[2]}.{match[3]}" if match else None


def lora_proto(proto: Any) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The graph with inputs for adapters, and its sites. `proto` is not changed.

    Raises CannotRewrite when no linear layer of a decoder is found, or one is not float32 inside.
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
        _add_inputs(onnx, graph, site, sizes)
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


def _add_inputs(onnx: Any, graph: Any, site: str, sizes: tuple[int, int]) -> None:
    rank = f"rank.{site}"
    for name, dims, shape in zip(
        lora_inputs(site), ((sizes[0], rank), (rank, sizes[1])), ((sizes[0], 0), (0, sizes[1])), strict=True
    ):
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims))
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))


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
