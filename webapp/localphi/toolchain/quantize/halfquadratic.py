"""HQQ, half-quadratic quantization (Badri and Shaji, 2023): grids that serve most weights, not the outliers.

The squares of RTN's errors are ruled by a few large weights. HQQ makes the sum of |error|^p small instead, p
below one: an outlier that is missed by far costs little more than one that is just missed. It splits the
errors into what is let go (sparse, by shrinking them) and a rest, and moves the zero points so that the rest
vanishes, in turn. No text is needed.

MatMulNBits has whole zero points on every device, HQQ's are not whole: so they are rounded, the scale of a
group is fitted to them, and a group keeps the grid of its extremes where that one is better.
"""

from __future__ import annotations

import numpy as np

from localphi.toolchain.quantize.grid import Floats, Grid, Quantized, to_groups

POWER = 0.7  # of the errors that are made small; the paper's
_ROUNDS = 20
_FIRST_WEIGHT, _GROWTH = (
    10.0,
    1.01,
)  # of the squares against the power: the paper's beta, and what it grows by


def half_quadratic(weight: Floats, grid: Grid) -> Quantized:
    """The zero point and scale of each group that make the sum of |error|^0.7 small; never larger than RTN's.

    weight: (K, N). A symmetric grid has no zero points to move, and gets its scales fitted alone.
    """
    groups = to_groups(weight, grid.group_size)
    scales, zero_points = grid.steps(groups.min(-1), groups.max(-1))
    best = _Best(groups, grid, scales, zero_points)
    moved = zero_points.copy()
    for beta in _FIRST_WEIGHT * _GROWTH ** np.arange(_ROUNDS):
        codes = grid.round(groups, scales[..., None], moved[..., None])
        let_go = _shrunk(groups - (codes - moved[..., None]) * scales[..., None], float(beta))
        if grid.symmetric:
            scales = _fitted(groups - let_go, codes - moved[..., None], scales)
        else:
            steps = np.divide(
                groups - let_go, scales[..., None], out=np.zeros_like(groups), where=scales[..., None] != 0
            )
            moved = (codes - steps).mean(-1)
        best.offer(scales, np.clip(np.floor(moved + np.float32(0.5)), 0, grid.top))
    return Quantized.from_floats(grid, best.codes, best.scales, best.zero_points)


class _Best:
    """The best grid of each group so far."""

    def __init__(self, groups: Floats, grid: Grid, scales: Floats, zero_points: Floats) -> None:
        self._groups, self._grid = groups, grid
        self.scales, self.zero_points = scales.copy(), zero_points.copy()
        self.codes = grid.round(groups, scales[..., None], zero_points[..., None])
        self._errors = self._error(self.codes, scales, zero_points)

    def offer(self, scales: Floats, zero_points: Floats) -> None:
        """Scales as they are, and fitted to the codes that come of them and the whole zero points."""
        codes = self._grid.round(self._groups, scales[..., None], zero_points[..., None])
        self._take(codes, scales, zero_points)
        steps = codes - zero_points[..., None]
        let_go = _shrunk(self._groups - steps * scales[..., None], _FIRST_WEIGHT)
        fitted = _fitted(self._groups - let_go, steps, scales)
        codes = self._grid.round(self._groups, fitted[..., None], zero_points[..., None])
        self._take(codes, fitted, zero_points)

    def _take(self, codes: Floats, scales: Floats, zero_points: Floats) -> None:
        errors = self._error(codes, scales, zero_points)
        better = errors < self._errors
        np.copyto(self._errors, errors, where=better)
        np.copyto(self.scales, scales, where=better)
        np.copyto(self.zero_points, zero_points, where=better)
        np.copyto(self.codes, codes, where=better[..., None])

    def _error(self, codes: Floats, scales: Floats, zero_points: Floats) -> Floats:
        differences = (codes - zero_points[..., None]) * scales[..., None] - self._groups
        errors: Floats = (np.abs(differences) ** np.float32(POWER)).sum(-1)
        return errors


def _shrunk(errors: Floats, beta: float) -> Floats:
    """The part of the errors that is let go: the generalised soft threshold of |x|^p."""
    size = np.abs(errors)
    with np.errstate(divide="ignore"):
        kept = np.maximum(size - np.float32(1 / beta) * size ** np.float32(POWER - 1), 0)
    shrunk: Floats = np.sign(errors) * kept
    return shrunk


def _fitted(groups: Floats, steps: Floats, scales: Floats) -> Floats:
    """Least squares of the scale to codes already chosen."""
    above, below = (steps * groups).sum(-1), (steps * steps).sum(-1)
    fitted: Floats = np.divide(above, below, out=scales.copy(), where=below > 0)
    return fitted
