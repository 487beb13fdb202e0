"""The scales that make rounding hurt a layer's output least (AWQ, Lin et al. 2023), in numpy.

A few input channels carry most of what a layer computes. Scaling their rows of the weight up before rounding
and the inputs down makes the rounding errors of these rows small, where it matters. How far is searched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localphi.toolchain.quantize.grid import Floats, Grid
from localphi.toolchain.quantize.rounding import nearest_weight

_STEPS = 20
_MOST_COLUMNS = 512  # of a weight in the search; more columns hardly change which scales win


@dataclass(frozen=True)
class Found:
    """The best scales (width,), and the relative error of the layers' outputs with and without them."""

    scales: Floats
    error: float
    error_unscaled: float


class Inputs:
    """What is kept of the inputs X (T, K) of some layers, however long the text.

    moments (K, K): X^T X, all that squared output errors depend on.
    """

    def __init__(self, width: int) -> None:
        self.moments: Floats = np.zeros((width, width), np.float32)
        self._sums = np.zeros(width)
        self._count = 0

    def add(self, inputs: Floats) -> None:
        """Take a piece of X."""
        self.moments += inputs.T @ inputs
        self._sums += np.abs(inputs).sum(0)
        self._count += len(inputs)

    @property
    def sizes(self) -> Floats:
        """The mean absolute value of each input.  # (K,)"""
        sizes: Floats = (self._sums / max(self._count, 1)).astype(np.float32)
        return sizes

    def scaled_moments(self, rows: Floats) -> Floats:
        """The moments of the inputs divided by the scales of the rows.  # (K, K)"""
        return self.moments / rows[:, None] / rows[None]

    def squared_output(self, weight: Floats) -> float:
        """The sum of the squares of X W."""
        return max(float(np.vdot(weight, self.moments @ weight)), 0.0)


def search_scales(
    inputs: Inputs, weights: Sequence[Floats], grid: Grid, spread: NDArray[np.intp], width: int
) -> Found:
    """Search the scales of one site.

    weights (K, N): of each of its layers; spread: which of `width` scales each row has.
    """
    sampled = [_sample_columns(weight) for weight in weights]
    squares = [max(inputs.squared_output(weight), 1e-30) for weight in sampled]

    def error(scales: Floats) -> float:
        """The sum over the layers of their squared output errors, each as a share of its squared output."""
        rows = scales[spread][:, None]
        wrong = (nearest_weight(weight * rows, grid) / rows - weight for weight in sampled)
        return sum(inputs.squared_output(d) / square for d, square in zip(wrong, squares, strict=True))

    best_scales = np.ones(width, np.float32)
    best = unscaled = error(best_scales)
    for scales in _candidates(inputs.sizes, sampled, grid, spread, width):
        if (found := error(scales)) < best:
            best, best_scales = found, scales
    return Found(best_scales, best, unscaled)


def _candidates(
    sizes: Floats, weights: Sequence[Floats], grid: Grid, spread: NDArray[np.intp], width: int
) -> Iterator[Floats]:
    """size^a, and size^a / weight^(1-a), for a from 0 to 1: size of the input, weight of the row."""
    size = _pooled(sizes, spread, width)
    weight = _pooled(_row_weights(weights, grid), spread, width)
    for step in range(_STEPS + 1):
        share = step / _STEPS
        for raw in (size**share, size**share / weight ** (1 - share)):
            scales = raw / np.sqrt(raw.max() * raw.min())
            yield np.clip(scales, 1e-3, 1e3).astype(np.float32)


def _row_weights(weights: Sequence[Floats], grid: Grid) -> Floats:
    """How large the weights of a row are, on average, beside the largest of their groups."""
    rows = weights[0].shape[0]
    grouped = np.abs(np.concatenate(weights, axis=1)).reshape(rows // grid.group_size, grid.group_size, -1)
    largest = grouped.max(1, keepdims=True)
    shares: Floats = (grouped / np.maximum(largest, 1e-12)).mean(-1).reshape(rows)
    return shares


def _pooled(values: Floats, spread: NDArray[np.intp], width: int) -> Floats:
    """The mean of the rows that share a scale."""
    sums = np.bincount(spread, weights=values, minlength=width)
    counts = np.bincount(spread, minlength=width)
    pooled: Floats = np.maximum(sums / counts, 1e-8).astype(np.float32)
    return pooled


def _sample_columns(weight: Floats) -> Floats:
    columns = weight.shape[1]
    if columns <= _MOST_COLUMNS:
        return weight
    return np.ascontiguousarray(weight[:, np.linspace(0, columns - 1, _MOST_COLUMNS).astype(int)])
