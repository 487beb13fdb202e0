"""What is asked for, checked against the model before any work begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from localphi.errors import CannotQuantize
from localphi.toolchain.quantize import Method
from localphi.toolchain.quantize.floatgraph import FloatGraph, Layer
from localphi.toolchain.quantize.folds import Site
from localphi.toolchain.quantize.grid import Grid

FLOAT = 32  # bits of a layer that stays as it is
_KEPT = {"4": 4, "8": 8, "fp32": FLOAT}


@dataclass(frozen=True)
class Recipe:
    """How a model is quantized.

    keep: patterns of layers with the bits they get, whatever else is said; the first that matches counts.
    ratio: share of the weights at 4 bits, the most sensitive others at 8; None for `bits` everywhere.
    clip: after the scales of AWQ, search each group's grid, too, by the error of the layer's output.
    correct: and let the rows that are still to be rounded make up for the errors of those that are (GPTQ).
    accuracy_level: of MatMulNBits; 4 rounds the activations to 8 bits while computing, 0 and 1 do not.
    conversations: how many are read for calibration.
    """

    method: Method = "awq"
    bits: int = 4
    group_size: int = 32
    symmetric: bool = False
    accuracy_level: int = 0
    keep: tuple[tuple[str, int], ...] = ()
    ratio: float | None = None
    clip: bool = True
    correct: bool = True
    conversations: int = 96

    @property
    def grid(self) -> Grid:
        return self.grid_of(self.bits)

    def grid_of(self, bits: int) -> Grid:
        return Grid(bits, self.group_size, self.symmetric)

    @property
    def reads_text(self) -> bool:
        """Whether calibration text is needed."""
        return self.method == "awq" or self.ratio is not None

    @property
    def tag(self) -> str:
        """A short name, for the id of the model."""
        bits = str(self.bits) if self.ratio is None else "mixed"
        sign = "-sym" if self.symmetric else ""
        return f"{self.method}-{'int' if bits.isdigit() else ''}{bits}-g{self.group_size}{sign}"

    def key(self) -> str:
        """Tells one recipe from another."""
        return json.dumps(asdict(self), sort_keys=True)

    def fixed_bits(self, graph: FloatGraph) -> dict[str, int]:
        """The bits of the layers that `keep` names. Raises CannotQuantize for a pattern without a layer."""
        found: dict[str, int] = {}
        for pattern, bits in self.keep:
            for layer in graph.matching(pattern):
                found.setdefault(layer.name, bits)
        return found

    def check(self, graph: FloatGraph, sites: Sequence[Site]) -> None:
        """Raises CannotQuantize when the model and the recipe do not go together."""
        fixed = self.fixed_bits(graph)
        if self.ratio is not None and self.bits != 4:
            raise CannotQuantize(
                "--ratio shares the weights out between 4 and 8 bits, so it wants --bits 4. "
                "For 8 bits everywhere, leave --ratio out."
            )
        self._check_groups([layer for layer in graph.layers if fixed.get(layer.name) != FLOAT])
        if self.method == "awq" and not any(site.source for site in sites):
            raise CannotQuantize(
                f"{graph.folder / graph.file_name} does not have the structure that AWQ needs: no norm, "
                "up-projection or value projection before a layer takes its scales. "
                "Use --method kquant, which looks at the weights alone."
            )

    def _check_groups(self, layers: Sequence[Layer]) -> None:
        bad = [layer for layer in layers if layer.rows % self.group_size]
        if not bad:
            return
        fitting = [size for size in (32, 64, 128) if all(layer.rows % size == 0 for layer in layers)]
        advice = (
            f"Use --group-size {fitting[-1]}" if fitting else f"Leave it out with --keep {bad[0].name}:fp32"
        )
        raise CannotQuantize(
            f"{bad[0].name} has {bad[0].rows} inputs, which do not divide into groups of {self.group_size}. "
            f"{advice}."
        )


def parse_keep(text: str) -> tuple[tuple[str, int], ...]:
    """ "lm_head:8,down_proj:fp32" as pairs. Raises ValueError with what is wrong."""
    pairs = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        pattern, colon, bits = item.rpartition(":")
        if not colon or not pattern or bits not in _KEPT:
            raise ValueError(f"{item!r} is not a layer and its bits: write lm_head:8 (or :4, or :fp32).")
        pairs.append((pattern, _KEPT[bits]))
    return tuple(pairs)


def most_sensitive(
    layers: Sequence[Layer], damage: Mapping[str, float], fixed: Mapping[str, int], ratio: float
) -> set[str]:
    """The layers that get 8 bits: those with the most damage for their size, as many as there is room for.

    ratio: share of the weights of `layers` that stays at 4 bits; layers fixed at 8 bits or more count.
    """
    total = sum(layer.size for layer in layers)
    room = (1 - ratio) * total - sum(layer.size for layer in layers if fixed.get(layer.name, 4) != 4)
    chosen: set[str] = set()
    free = [layer for layer in layers if layer.name not in fixed]
    for layer in sorted(free, key=lambda layer: -damage[layer.name] / layer.size):
        if layer.size <= room:
            chosen.add(layer.name)
            room -= layer.size
    return chosen
