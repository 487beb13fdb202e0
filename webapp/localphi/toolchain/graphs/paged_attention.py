"""Attention over a paged cache, in operators that every ONNX Runtime for CPUs has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localphi.toolchain.graphs.nodes import CONTRIB, Nodes
from localphi.toolchain.graphs.paged_step import Shape, Step, head_groups


@dataclass(frozen=True)
class Cache:
    """Names of one layer's cache of keys or of values, as the engine gives it and as it takes it back."""

    past: str
    present: str


def write_attention(
    nodes: Nodes,
    shape: Shape,
    step: Step,
    mask: str,
    *,
    query: str,
    key: str,
    value: str,
    keys: Cache,
    values: Cache,
    scale: float,
    output: str,
) -> None:
    """Write one layer's attention: query (1, N, H * D), key and value (1, N, K * D) -> output (1, N, H * D)."""
    add = nodes.add
    all_keys = _write_cache(nodes, shape, step, key, keys)
    all_values = _write_cache(nodes, shape, step, value, values)
    scaled = add("Mul", query, nodes.constant(np.float32(scale)))
    pieces = add("Reshape", add("Gather", scaled, step.queries, axis=1), step.query_shape)
    pieces = add("Transpose", pieces, perm=[0, 2, 3, 1, 4])  # (R, K, G, P, D)
    queries = add("Reshape", pieces, nodes.integers(0, 0, -1, shape.head_size))  # (R, K, G * P, D)
    groups = head_groups(shape)
    parts = [queries]
    if len(groups) > 1:
        parts = [nodes.name("Split") for _ in groups]
        nodes.add_many("Split", [queries, nodes.integers(*map(len, groups))], parts, axis=1)
    attended = [
        _attend(nodes, shape, step, mask, part, all_keys, all_values, blocks, len(group))
        for part, blocks, group in zip(parts, step.blocks, groups, strict=True)
    ]
    together = attended[0] if len(groups) == 1 else add("Concat", *attended, axis=1)
    together = add(
        "Reshape",
        together,
        add(
            "Concat",
            step.sizes[0],
            nodes.integers(shape.kv_heads, shape.groups),
            step.sizes[1],
            nodes.integers(shape.head_size),
            axis=0,
        ),
    )
    rows = add("Transpose", together, perm=[0, 3, 1, 2, 4])  # (R, P, K, G, D)
    rows = add("Reshape", rows, nodes.integers(1, -1, shape.heads * shape.head_size))
    add("Gather", rows, step.tokens, axis=1, output=output)


def _write_cache(nodes: Nodes, shape: Shape, step: Step, new: str, cache: Cache) -> str:
    """Write the new rows in place, and give the whole cache as (blocks * K, tokens, D).

    The engine gives one buffer as past and present. ScatterND writes into it when it stands between the two
    and nothing else reads the past; behind a Reshape it would copy the whole cache in every step.
    """
    add = nodes.add
    rows = add("Gather", new, step.written, axis=1)
    rows = add("Reshape", rows, nodes.integers(-1, shape.kv_heads, shape.head_size))
    present = add("ScatterND", cache.past, step.slots, rows, output=cache.present)
    return add("Reshape", present, nodes.integers(-1, shape.block_tokens, shape.head_size))


def _attend(
    nodes: Nodes,
    shape: Shape,
    step: Step,
    mask: str,
    queries: str,
    keys: str,
    values: str,
    blocks: str,
    heads: int,
) -> str:
    """For k heads of keys: (R, k, G * P, D)."""
    add = nodes.add
    run = nodes.integers(0, heads, -1, shape.head_size)
    key = add("Reshape", add("Gather", keys, blocks, axis=0), run)  # (R, k, S, D)
    scores = add("FusedMatMul", queries, key, transB=1, domain=CONTRIB)  # (R, k, G * P, S)
    by_head = add(
        "Concat", step.sizes[0], nodes.integers(heads * shape.groups), step.sizes[1], step.sizes[2], axis=0
    )
    masked = add("Add", add("Reshape", scores, by_head), mask)
    weights = add("Softmax", masked, axis=-1)
    weights = add(
        "Reshape",
        weights,
        add("Concat", step.sizes[0], nodes.integers(heads, -1), step.sizes[2], axis=0),
    )
    value = add("Reshape", add("Gather", values, blocks, axis=0), run)
    return add("MatMul", weights, value)
