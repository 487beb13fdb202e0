"""Attention over a paged cache, in operators that every ONNX Runtime for CPUs has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localphi.toolchain.graphs.nodes import CONTRIB, FLOAT, INT64, Nodes
from localphi.toolchain.graphs.paged_step import Shape, Step


@dataclass(frozen=True)
class Cache:
    """Names of one layer's cache of keys or of values, as the engine gives it and as it takes it back."""

    past: str
    present: str


@dataclass(frozen=True)
class Projections:
    """Names of one layer's query (1, N, H * D), key and value (1, N, K * D)."""

    query: str
    key: str
    value: str


@dataclass(frozen=True)
class _Seen:
    """Seen by one piece. keys, values: caches (blocks * K, tokens, D). blocks (k, C), mask (1, G * P, S)."""

    keys: str
    values: str
    blocks: str
    mask: str


class PagedAttention:
    """Writes one layer's attention into `nodes`. mask: see `paged_step.write_mask`."""

    def __init__(self, nodes: Nodes, shape: Shape, step: Step, mask: str) -> None:
        self._nodes = nodes
        self._shape = shape
        self._step = step
        self._mask = mask

    def write(self, new: Projections, caches: tuple[Cache, Cache], scale: float, output: str) -> None:
        """caches: of keys and of values. output: name of what it gives, (1, N, H * D)."""
        keys = self._write_cache(new.key, caches[0])
        values = self._write_cache(new.value, caches[1])
        together, apart = self._nodes.inner("together"), self._nodes.inner("apart")
        self._nodes.either(
            self._step.short,
            (together, self._attend_together(together, new.query, keys, values, scale)),
            (apart, self._attend_apart(apart, new.query, keys, values, scale)),
            output,
        )

    def _write_cache(self, new: str, cache: Cache) -> str:
        """Write the new rows in place, and give the whole cache as (blocks * K, tokens, D).

        The engine gives one buffer as past and present. ScatterND writes into it when it stands between the
        two and nothing else reads the past; behind a Reshape it would copy the whole cache in every step.
        """
        add, integers, shape = self._nodes.add, self._nodes.integers, self._shape
        rows = add("Gather", new, self._step.written, axis=1)
        rows = add("Reshape", rows, integers(-1, shape.kv_heads, shape.head_size))
        present = add("ScatterND", cache.past, self._step.slots, rows, output=cache.present)
        return add("Reshape", present, integers(-1, shape.block_tokens, shape.head_size))

    def _attend_together(self, nodes: Nodes, query: str, keys: str, values: str, scale: float) -> str:
        """(1, N, H * D) of a step that is `short`: all conversations in one multiplication."""
        add, shape, step = nodes.add, self._shape, self._step
        queries = add("Reshape", query, nodes.integers(-1, shape.kv_heads, shape.groups, shape.head_size))
        run = nodes.integers(0, shape.kv_heads, -1, shape.head_size)
        keys = add("Reshape", add("Gather", keys, step.blocks, axis=0), run)  # (N, K, S, D)
        scores = add("FusedMatMul", queries, keys, transB=1, alpha=scale, domain=CONTRIB)  # (N, K, G, S)
        weights = add("Softmax", add("Add", scores, self._mask), axis=-1)
        values = add("Reshape", add("Gather", values, step.blocks, axis=0), run)
        answers = add("MatMul", weights, values)
        return add("Reshape", answers, nodes.integers(1, -1, shape.heads * shape.head_size))

    def _attend_apart(self, nodes: Nodes, query: str, keys: str, values: str, scale: float) -> str:
        """(1, N, H * D) of any step: piece by piece."""
        add, shape = nodes.add, self._shape
        scaled = add("Mul", query, nodes.constant(np.float32(scale)))
        pieces = add("Reshape", add("Gather", scaled, self._step.queries, axis=1), self._step.query_shape)
        pieces = add("Transpose", pieces, perm=[0, 2, 3, 1, 4])  # (R, K, G, P, D)
        queries = add("Reshape", pieces, nodes.integers(0, 0, -1, shape.head_size))  # (R, K, G * P, D)
        answers = self._attend_pieces(nodes, queries, keys, values)
        answers = add("Reshape", answers, self._step.answer_shape)
        rows = add("Transpose", answers, perm=[0, 3, 1, 2, 4])  # (R, P, K, G, D)
        rows = add("Reshape", rows, nodes.integers(1, -1, shape.heads * shape.head_size))
        return add("Gather", rows, self._step.tokens, axis=1)

    def _attend_pieces(self, nodes: Nodes, queries: str, keys: str, values: str) -> str:
        """Answers (R, K, G * P, D), in a loop over the pieces and over some heads at once.

        ONNX can only multiply what lies in one run, so blocks must be copied together. In this order a piece
        copies no more blocks than it has, and the copy is still in the processor's cache when it is used.
        """
        body, step, counts = nodes.inner("piece"), self._step, self._shape.head_counts
        query, blocks, used, mask = (body.name(part) for part in ("queries", "blocks", "used", "mask"))
        slices = [
            (queries, query, FLOAT),
            (step.blocks, blocks, INT64),
            (step.used, used, INT64),
            (self._mask, mask, FLOAT),
        ]
        blocks = body.add("Slice", blocks, body.integers(0), used, body.integers(1))
        tokens = body.add("Mul", used, body.integer(self._shape.block_tokens))
        mask = body.add("Slice", mask, body.integers(0), tokens, body.integers(2))
        if len(counts) == 1:
            answer = self._attend_heads(body, query, _Seen(keys, values, blocks, mask))
        else:
            parts = zip(body.split(query, counts, axis=0), body.split(blocks, counts, axis=0), strict=True)
            answers = [self._attend_heads(body, part, _Seen(keys, values, b, mask)) for part, b in parts]
            answer = body.add("Concat", *answers, axis=0)
        return nodes.scan(body, slices, answer)

    def _attend_heads(self, body: Nodes, queries: str, seen: _Seen) -> str:
        """For k of the heads of keys: answers (k, G * P, D) to queries of the same shape."""
        add, run = body.add, body.integers(0, -1, self._shape.head_size)
        keys = add("Reshape", add("Gather", seen.keys, seen.blocks, axis=0), run)  # (k, S, D)
        scores = add("FusedMatMul", queries, keys, transB=1, domain=CONTRIB)  # (k, G * P, S)
        weights = add("Softmax", add("Add", scores, seen.mask), axis=-1)
        values = add("Reshape", add("Gather", seen.values, seen.blocks, axis=0), run)
        return add("MatMul", weights, values)
