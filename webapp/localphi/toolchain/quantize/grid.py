"""How the numbers of one weight become codes of a few bits, and the layout in which MatMulNBits reads them.

A weight has K rows (inputs) and N columns (outputs). Each column is cut into G groups of g rows. A group has
a scale and a zero point:

    weight ~ (code - zero point) * scale            a code is a whole number of 4 or 8 bits

Symmetric grids have the zero point in the middle and do not store it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Grid:
    """group_size: rows of a column that share one scale."""

    bits: int
    group_size: int
    symmetric: bool

    @property
    def top(self) -> int:
        """The greatest code."""
        return int(2**self.bits - 1)

    @property
    def middle(self) -> int:
        return int(2 ** (self.bits - 1))

    @property
    def bits_per_weight(self) -> float:
        """With the shares of a float32 scale and of a zero point."""
        return self.bits + (32 + (0 if self.symmetric else self.bits)) / self.group_size

    def steps(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Scales and zero points of grids that reach from `low` to `high` and hold zero exactly.

        The same numbers as onnxruntime's own quantizer. A symmetric scale is negative where the positive end
        is the farther one: the code 0 lies one step farther from the middle than the top code does.
        """
        if self.symmetric:
            peak: Floats = np.where(np.abs(high) > np.abs(low), high, low)
            return np.divide(peak, np.float32(-self.middle), dtype=np.float32), np.full_like(
                peak, self.middle
            )
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        scales = (high - low) / np.float32(self.top)
        zero_points = np.divide(-low, scales, out=np.zeros_like(low), where=scales > 0)
        return scales, np.clip(np.floor(zero_points + np.float32(0.5)), 0, self.top)

    def round(self, numbers: Floats, scales: Floats, zero_points: Floats) -> Floats:
        """The nearest code of each number, as floats; shapes broadcast."""
        codes = numbers * _reciprocal(scales)
        codes += zero_points
        codes += np.float32(0.5)
        np.floor(codes, out=codes)
        return np.clip(codes, 0, self.top, out=codes)


def _reciprocal(scales: Floats) -> Floats:
    return np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales != 0)


def to_groups(weight: Floats, group_size: int) -> Floats:
    """The groups of a weight.  # (K, N) -> (G, N, g)"""
    rows, columns = weight.shape
    return np.ascontiguousarray(weight.reshape(rows // group_size, group_size, columns).transpose(0, 2, 1))


def from_groups(groups: Floats) -> Floats:
    """# (G, N, g) -> (K, N)"""
    number, columns, size = groups.shape
    return np.ascontiguousarray(groups.transpose(0, 2, 1).reshape(number * size, columns))


@dataclass(frozen=True)
class Quantized:
    """A quantized weight: codes (G, N, g), scales and zero points (G, N)."""

    grid: Grid
    codes: Codes
    scales: Floats
    zero_points: Codes

    @classmethod
    def from_floats(cls, grid: Grid, codes: Floats, scales: Floats, zero_points: Floats) -> Quantized:
        return cls(grid, codes.astype(np.uint8), scales.astype(np.float32), zero_points.astype(np.uint8))

    @property
    def shape(self) -> tuple[int, int]:
        """K, N of the weight."""
        number, columns, size = self.codes.shape
        return number * size, columns

    def weight(self) -> Floats:
        """What the model computes with.  # (K, N)"""
        codes = self.codes.astype(np.float32) - self.zero_points[..., None].astype(np.float32)
        return from_groups(codes * self.scales[..., None])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The inputs of MatMulNBits by their role: weight, scales and, unless symmetric, zero_points.

        weight is (N, G, bytes of a group); two 4-bit codes share a byte, the first in its lower half.
        """
        codes = np.ascontiguousarray(self.codes.transpose(1, 0, 2))  # (N, G, g)
        tensors: dict[str, NDArray[Any]] = {
            "weight": _packed(codes) if self.grid.bits == 4 else codes,
            "scales": np.ascontiguousarray(self.scales.T),
        }
        if not self.grid.symmetric:
            zero_points = np.ascontiguousarray(self.zero_points.T)  # (N, G)
            tensors["zero_points"] = zero_points if self.grid.bits == 8 else _packed(self._even(zero_points))
        return tensors

    def _even(self, zero_points: Codes) -> Codes:
        """With one more group where their number is odd: half a byte would be left over."""
        padding = ((0, 0), (0, zero_points.shape[1] % 2))
        even: Codes = np.pad(zero_points, padding, constant_values=self.grid.middle)
        return even


def _packed(codes: Codes) -> Codes:
    packed = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed.astype(np.uint8, copy=False)
