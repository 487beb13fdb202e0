"""Choosing the scales and zero points of a weight: from its extremes, or by a search for the least error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from localphi.toolchain.quantize.grid import Floats, Grid, Quantized, to_groups

Weigh = Callable[[Floats], Floats]
"""Turns differences d of (G, N, g) into W d, so that sum(d * W d) is their weighted square."""

# How much of the range of a group the grid covers: beyond it for a better fit inside, down to cutting off
# its extremes. Wider cuts never won in the demo's layers.
_SHARES = (1.05, 1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.65, 0.6)
_CHUNK_NUMBERS = 2**21  # of a weight searched at once; bounds the memory


def nearest(weight: Floats, grid: Grid) -> Quantized:
    """Round to nearest (RTN): each grid spans its group. The same numbers as onnxruntime's quantizer."""
    groups = to_groups(weight, grid.group_size)
    scales, zero_points = grid.steps(groups.min(-1), groups.max(-1))
    codes = grid.round(groups, scales[..., None], zero_points[..., None])
    return Quantized.from_floats(grid, codes, scales, zero_points)


def nearest_weight(weight: Floats, grid: Grid) -> Floats:
    """The weight that `nearest` gives, at less cost.  # (K, N)"""
    rows, columns = weight.shape
    groups = weight.reshape(-1, grid.group_size, columns)
    scales, zero_points = grid.steps(groups.min(1, keepdims=True), groups.max(1, keepdims=True))
    rounded = grid.round(groups, scales, zero_points)
    rounded -= zero_points
    rounded *= scales
    return rounded.reshape(rows, columns)


def searched(weight: Floats, grid: Grid, grams: Floats | None = None) -> Quantized:
    """Each group gets the scale and zero point, of some dozens tried, with the least weighted error.

    grams: X^T X of the inputs X of each group (G, g, g); the error is then that of the layer's output, as far
    as one group makes it. Without them, big weights count more, as in the k-quants of llama.cpp.
    """
    groups = to_groups(weight, grid.group_size)
    parts = [_search(part, grid, _weigher(part, grams)) for part in _column_chunks(groups)]
    codes, scales, zero_points = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    return Quantized.from_floats(grid, codes, scales, zero_points)


def group_moments(moments: Floats, group_size: int) -> Floats:
    """The blocks of X^T X on its diagonal, one for each group of inputs.  # (K, K) -> (G, g, g)"""
    starts = range(0, len(moments), group_size)
    return np.stack([moments[at : at + group_size, at : at + group_size] for at in starts])


def corrected(weight: Floats, grid: Grid, moments: Floats, *, search: bool = True) -> Quantized:
    """Row after row is rounded, and the rows still to come make up for its error (GPTQ, Frantar et al. 2022).

    moments: X^T X (K, K) of the layer's inputs X. search: choose each group's grid as `searched` does, by the
    error that will remain after the later rows have made up for what they can; else from its extremes.
    """
    size = grid.group_size
    upper = _upper_factor(moments)
    left = weight.copy()  # what the rows not yet rounded should be by now
    parts: list[tuple[Floats, Floats, Floats]] = []
    for start in range(0, len(weight), size):
        stop = start + size
        block, factor = left[start:stop], upper[start:stop, start:stop]
        scales, zero_points = _group_grid(block, grid, factor if search else None)
        codes, errors = np.empty_like(block), np.empty_like(block)
        for row in range(size):
            codes[row] = grid.round(block[row], scales, zero_points)
            rounded = (codes[row] - zero_points) * scales
            errors[row] = (block[row] - rounded) / factor[row, row]
            block[row + 1 :] -= factor[row, row + 1 :, None] * errors[row]
        left[stop:] -= upper[start:stop, stop:].T @ errors
        parts.append((codes.T, scales, zero_points))
    codes, scales, zero_points = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    return Quantized.from_floats(grid, codes, scales, zero_points)


def _upper_factor(moments: Floats) -> Floats:
    """U with U^T U the inverse of the moments."""
    wide = moments.astype(np.float64)
    wide[np.diag_indices_from(wide)] += 0.01 * np.trace(wide) / len(wide) + 1e-12
    factor: Floats = np.linalg.cholesky(np.linalg.inv(wide)).T.astype(np.float32)
    return factor


def _group_grid(block: Floats, grid: Grid, factor: Floats | None) -> tuple[Floats, Floats]:
    """Scales and zero points (N,) of one group (g, N).

    With U the factor of the group, differences d of its rows cost |U^-T d|^2 in the end.
    """
    if factor is None:
        return grid.steps(block.min(0), block.max(0))
    inverse = np.linalg.inv(factor)
    gram = (inverse @ inverse.T)[None]
    groups = np.ascontiguousarray(block.T)[None]  # (1, N, g)
    _, scales, zero_points = _search(groups, grid, lambda differences: np.matmul(differences, gram))
    return scales[0], zero_points[0]


def _column_chunks(groups: Floats) -> Iterator[Floats]:
    number, columns, size = groups.shape
    step = max(1, _CHUNK_NUMBERS // (number * size))
    for start in range(0, columns, step):
        yield groups[:, start : start + step]


def _weigher(groups: Floats, grams: Floats | None) -> Weigh:
    if grams is not None:
        steadied = _steadied(grams)
        return lambda differences: np.matmul(differences, steadied)
    spread = np.sqrt((groups * groups).mean(-1, keepdims=True))
    weights = spread + np.abs(groups)
    return lambda differences: differences * weights


def _steadied(grams: Floats) -> Floats:
    """With a little more on the diagonal: inputs that the text never used still count for something."""
    size = grams.shape[-1]
    mean = np.trace(grams, axis1=1, axis2=2)[:, None, None] / size
    steadied: Floats = grams + (0.01 * mean + 1e-12).astype(np.float32) * np.eye(size, dtype=np.float32)
    return steadied


def _search(groups: Floats, grid: Grid, weigh: Weigh) -> tuple[Floats, Floats, Floats]:
    low, high = groups.min(-1), groups.max(-1)
    scales, zero_points = grid.steps(low, high)
    codes = grid.round(groups, scales[..., None], zero_points[..., None])
    errors = _error(groups, codes, scales, zero_points, weigh)
    for first_scales, try_zero_points in _tries(low, high, grid):
        first_codes = grid.round(groups, first_scales[..., None], try_zero_points[..., None])
        try_scales = _fitted(groups, first_codes - try_zero_points[..., None], first_scales, weigh)
        try_codes = grid.round(groups, try_scales[..., None], try_zero_points[..., None])
        try_errors = _error(groups, try_codes, try_scales, try_zero_points, weigh)
        better = try_errors < errors
        np.copyto(errors, try_errors, where=better)
        np.copyto(scales, try_scales, where=better)
        np.copyto(zero_points, try_zero_points, where=better)
        np.copyto(codes, try_codes, where=better[..., None])
    return codes, scales, zero_points


def _tries(low: Floats, high: Floats, grid: Grid) -> Iterator[tuple[Floats, Floats]]:
    for share in _SHARES:
        scales, zero_points = grid.steps(low * np.float32(share), high * np.float32(share))
        if grid.symmetric:
            yield scales, zero_points
            yield -scales, zero_points
        else:
            for shift in (-1, 0, 1):
                yield scales, np.clip(zero_points + np.float32(shift), 0, grid.top)


def _fitted(groups: Floats, steps: Floats, scales: Floats, weigh: Weigh) -> Floats:
    """The scales that fit codes already chosen best: weighted least squares in one unknown."""
    weighed = weigh(steps)
    above, below = (weighed * groups).sum(-1), (weighed * steps).sum(-1)
    fitted: Floats = np.divide(above, below, out=scales.copy(), where=below > 0)
    return fitted


def _error(
    groups: Floats, codes: Floats, scales: Floats, zero_points: Floats, weigh: Weigh
) -> NDArray[np.float32]:
    differences = (codes - zero_points[..., None]) * scales[..., None] - groups
    errors: NDArray[np.float32] = (weigh(differences) * differences).sum(-1)
    return errors
