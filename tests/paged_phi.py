"""The random model of `tiny_phi.py` with a paged graph of the same weights beside its own, written by hand.

So the paged backend is tested against the generator backend without the tool-chain's rewrite, and the rewrite
against this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from localphi.models.manifest import Manifest, PagedGraph, describe_file, write_manifest
from tiny_phi import HEAD_SIZE, HEADS, HIDDEN, Family, tiny_phi

BLOCK = 16  # tokens
GRAPH = "model-paged.onnx"


def paged_phi(
    folder: Path, family: Family, *, bias: Mapping[str, float] | None = None, longest: int = 4096
) -> Manifest:
    """Make the model in `folder`, which is empty. longest: sequence that the paged graph is said to take."""
    manifest = tiny_phi(folder, family, bias=bias)
    _write_paged_graph(folder)
    variant = manifest.variants["server-cpu"]
    variant = replace(variant, files=(*variant.files, GRAPH), paged=PagedGraph(GRAPH, BLOCK, longest))
    files = {**manifest.files, GRAPH: describe_file(folder / GRAPH)}
    manifest = replace(manifest, files=files, variants={"server-cpu": variant})
    write_manifest(folder, manifest)
    return manifest


def _write_paged_graph(folder: Path) -> None:  # noqa: PLR0915  a graph is a list
    """N new tokens of R rows stand one behind the other; the cache is (blocks, BLOCK, H, D)."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = list(onnx.load(folder / "model.onnx").graph.initializer)
    vocabulary = next(weight.dims[0] for weight in weights if weight.name == "embedding")
    nodes: list[Any] = []

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, inputs.split(), output.split(), **attributes))

    def constant(name: str, value: Any, dtype: Any = np.int64) -> None:
        weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))

    for name, number in {"n0": 0, "n1": 1, "block": BLOCK}.items():
        constant(name, number)
    for name, value in {
        "a0": [0],
        "a1": [1],
        "a2": [2],
        "a01": [0, 1],
        "a23": [2, 3],
        "last1": [-1],
        "flat": [-1],
        "far": [2**62],
    }.items():
        constant(name, value)
    constant("heads", [HEADS, HEAD_SIZE])
    constant("width", [HIDDEN])
    constant("new", [-1, HEADS, HEAD_SIZE])
    constant("scale", HEAD_SIZE**-0.5, np.float32)
    constant("no", -1e9, np.float32)
    constant("yes", 0.0, np.float32)

    # Of each new token: its row, its place among the row's new ones, its position, its block and slot.
    node("Cast", "cumulative_sequence_lengths", "starts", to=TensorProto.INT64)  # (R + 1)
    node("Cast", "past_sequence_lengths", "past", to=TensorProto.INT64)  # (R)
    node("Cast", "block_table", "table", to=TensorProto.INT64)  # (R, columns)
    node("Slice", "starts a1 far a0", "ends")
    node("Shape", "input_ids", "count1")
    node("Squeeze", "count1", "count")
    node("Range", "n0 count n1", "index")  # (N)
    node("Unsqueeze", "index a1", "index_column")
    node("Unsqueeze", "ends a0", "ends_row")
    node("GreaterOrEqual", "index_column ends_row", "behind")
    node("Cast", "behind", "behind64", to=TensorProto.INT64)
    node("ReduceSum", "behind64 a1", "row", keepdims=0)  # (N)
    node("Gather", "starts row", "start")
    node("Sub", "index start", "place")  # (N)
    node("Gather", "past row", "row_past")
    node("Add", "row_past place", "position")  # (N)
    node("Div", "position block", "column")
    node("Mod", "position block", "slot")
    node("Unsqueeze", "row a1", "row1")
    node("Unsqueeze", "column a1", "column1")
    node("Unsqueeze", "slot a1", "slot1")
    node("Unsqueeze", "place a1", "place1")
    node("Concat", "row1 column1", "in_table", axis=1)
    node("GatherND", "table in_table", "in_pool")
    node("Unsqueeze", "in_pool a1", "in_pool1")
    node("Concat", "in_pool1 slot1", "target", axis=1)  # (N, 2)
    node("Concat", "row1 place1", "padded", axis=1)  # (N, 2)

    # Which keys each new token may see.
    node("Shape", "table", "table_shape")
    node("Slice", "table_shape a0 a1 a0", "rows")
    node("Slice", "table_shape a1 far a0", "columns")
    node("Mul", "columns block", "keys")
    node("Squeeze", "keys", "keys0")
    node("Range", "n0 keys0 n1", "key_position")  # (S)
    node("ReduceMax", "place", "last_place", keepdims=1)
    node("Add", "last_place n1", "queries")
    node("Squeeze", "queries", "queries0")
    node("Range", "n0 queries0 n1", "query")  # (T)
    node("Unsqueeze", "past a1", "past1")
    node("Add", "past1 query", "query_position")  # (R, T)
    node("Unsqueeze", "query_position a2", "query_position1")
    node("Unsqueeze", "key_position a01", "key_position2")
    node("LessOrEqual", "key_position2 query_position1", "visible")
    node("Unsqueeze", "visible a1", "mask")  # (R, 1, T, S)
    node("Slice", "starts a0 last1 a0", "begins")
    node("Sub", "ends begins", "counts")
    node("Add", "past counts", "lengths")  # (R)
    node("Unsqueeze", "lengths a1", "lengths1")
    node("Unsqueeze", "key_position a0", "key_position1")
    node("Less", "key_position1 lengths1", "written2")
    node("Unsqueeze", "written2 a23", "written")  # (R, S, 1, 1)

    node("Gather", "embedding input_ids", "x")
    node("MatMul", "x qkv", "all")
    node("Split", "all", "q k v", axis=1, num_outputs=3)
    node("Reshape", "table flat", "blocks")
    node("Concat", "rows keys heads", "cache_shape", axis=0)
    for source, name in (("k", "key"), ("v", "value")):
        node("Reshape", f"{source} new", f"{source}_new")
        node("ScatterND", f"past_key_values.0.{name} target {source}_new", f"present.0.{name}")
        node("Gather", f"present.0.{name} blocks", f"{source}_blocks")
        node("Reshape", f"{source}_blocks cache_shape", f"{source}_held")  # (R, S, H, D)
        node("Where", f"written {source}_held yes", f"{source}_all")  # GenAI's pool begins with any numbers
    node("Transpose", "k_all", "k_t", perm=[0, 2, 3, 1])
    node("Transpose", "v_all", "v_t", perm=[0, 2, 1, 3])
    node("Concat", "rows queries width", "padded_shape", axis=0)
    node("Concat", "rows queries heads", "query_shape", axis=0)
    nothing = helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0])
    node("ConstantOfShape", "padded_shape", "zeros", value=nothing)
    node("ScatterND", "zeros padded q", "q_padded")
    node("Reshape", "q_padded query_shape", "q_heads")
    node("Transpose", "q_heads", "q_t", perm=[0, 2, 1, 3])
    node("MatMul", "q_t k_t", "raw")
    node("Mul", "raw scale", "scaled")
    node("Where", "mask scaled no", "scores")
    node("Softmax", "scores", "shares", axis=-1)
    node("MatMul", "shares v_t", "attended_t")
    node("Transpose", "attended_t", "attended_heads", perm=[0, 2, 1, 3])
    node("Reshape", "attended_heads padded_shape", "attended_padded")
    node("GatherND", "attended_padded padded", "attended")  # (N, hidden)
    node("MatMul", "attended o", "mixed")
    node("Add", "x mixed", "y")
    node("Sub", "ends n1", "last")
    node("Gather", "y last", "y_last")
    node("MatMul", "y_last head", "unbiased")
    node("Add", "unbiased bias", "logits")  # (R, V)

    tensor = helper.make_tensor_value_info
    integers = {
        "cumulative_sequence_lengths": ["r1"],
        "past_sequence_lengths": ["r"],
        "block_table": ["r", "c"],
    }
    inputs = [
        tensor("input_ids", TensorProto.INT64, ["n"]),
        tensor("attention_metadata", TensorProto.INT32, [3]),
    ]
    inputs += [tensor(name, TensorProto.INT32, shape) for name, shape in integers.items()]
    cache: list[str | int] = ["blocks", BLOCK, HEADS, HEAD_SIZE]
    names = ("key", "value")
    inputs += [tensor(f"past_key_values.0.{name}", TensorProto.FLOAT, cache) for name in names]
    outputs = [tensor("logits", TensorProto.FLOAT, ["batch_size", vocabulary])]  # GenAI knows this name
    outputs += [tensor(f"present.0.{name}", TensorProto.FLOAT, cache) for name in names]
    used = {name for each in nodes for name in each.input}
    kept = [weight for weight in weights if weight.name in used]
    graph = helper.make_graph(nodes, "paged-phi", inputs, outputs, kept)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / GRAPH)
