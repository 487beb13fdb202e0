"""How much the model's answers change when one layer alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from localphi.toolchain.quantize.calibration import Row
from localphi.toolchain.quantize.floatgraph import FloatGraph, Layer, with_all_positions
from localphi.toolchain.quantize.grid import Floats
from localphi.toolchain.quantize.runner import Runner

_MOST_POSITIONS = 1024
_MOST_BYTES = 2**28  # of the float model's logits, which are kept


def damages(
    graph: FloatGraph,
    rows: Sequence[Row],
    layers: Sequence[Layer],
    rounded: Callable[[Layer], Floats],
    threads: int,
) -> Iterator[tuple[Layer, float]]:
    """Each layer with the mean KL divergence of the next token when its weight is the rounded one.

    rounded: the weight (K, N) that a layer would have, in place of the graph's own.
    """
    weights = sorted({layer.weight for layer in layers})
    runner = Runner(with_all_positions(graph.proto), graph.folder, threads, replaceable=weights)
    before = [log_probabilities(runner.run(row.ids, ["logits"])[0][0]) for row in _few(runner, rows)]
    kept = rows[: len(before)]
    for layer in layers:
        values = {layer.weight: rounded(layer)}
        total = count = 0.0
        for row, expected in zip(kept, before, strict=True):
            (logits,) = runner.run(row.ids, ["logits"], values)
            total += float(divergence(expected, log_probabilities(logits[0])).sum())
            count += len(row.ids)
        yield layer, total / count


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """# (T, V)"""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def divergence(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(expected || found) at each position, in nats.  # (T, V) -> (T,)"""
    result: NDArray[np.float64] = (np.exp(expected) * (expected - found)).sum(-1)
    return result


def _few(runner: Runner, rows: Sequence[Row]) -> Iterator[Row]:
    """As many rows as fit the bounds; at least one."""
    vocabulary = runner.run(rows[0].ids[:2], ["logits"])[0].shape[-1]
    positions = min(_MOST_POSITIONS, _MOST_BYTES // (8 * vocabulary))
    used = 0
    for row in rows:
        if used and used + len(row.ids) > positions:
            return
        used += len(row.ids)
        yield row
