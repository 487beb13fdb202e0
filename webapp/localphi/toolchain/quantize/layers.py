"""Quantizes a model layer by layer, and remembers each layer that is done, so that a killed run can go on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.errors import CannotQuantize
from localphi.toolchain.quantize import Method
from localphi.toolchain.quantize.awq import Found, Inputs, search_scales
from localphi.toolchain.quantize.calibration import Row, layer_inputs
from localphi.toolchain.quantize.floatgraph import FloatGraph, Layer, with_all_positions
from localphi.toolchain.quantize.folds import ColumnSource, NormSource, Site, find_sites
from localphi.toolchain.quantize.grid import Floats, Grid, Quantized
from localphi.toolchain.quantize.halfquadratic import half_quadratic
from localphi.toolchain.quantize.recipe import FLOAT, Recipe, most_sensitive
from localphi.toolchain.quantize.rounding import corrected, group_moments, nearest, searched
from localphi.toolchain.quantize.runner import Runner
from localphi.toolchain.quantize.sensitivity import damages

_MOST_BYTES = 2**30  # of moments held at once; more layers are calibrated in several passes over the text
_BY_WEIGHT: Mapping[Method, Callable[[Floats, Grid], Quantized]] = {
    "rtn": nearest,
    "hqq": half_quadratic,
    "kquant": searched,
    "awq": nearest,  # where neither clipping nor correcting is asked for
}
Progress = Callable[[str, int, int], object]
"""Told of what is done, with how many of how many."""


class Work:
    """Results on the disk. What another model or recipe left there is deleted first.

    Raises CannotQuantize for a folder that holds something else.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        marker = folder / "localphi-quantize.txt"
        if marker.is_file():
            if marker.read_text(encoding="utf-8") == key:
                return
            shutil.rmtree(folder)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CannotQuantize(f"{folder} holds other things. Give another --work, or empty it.")
        folder.mkdir(parents=True, exist_ok=True)
        marker.write_text(key, encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.npz").is_file()

    def save(self, name: str, **arrays: NDArray[Any]) -> None:
        """Whole or not at all."""
        partial = self.folder / f"{name}.partial.npz"
        np.savez(partial, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for allow_pickle
        os.replace(partial, self.folder / f"{name}.npz")

    def load(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self.folder / f"{name}.npz") as arrays:
            return dict(arrays)

    def discard(self) -> None:
        shutil.rmtree(self.folder)


@dataclass(frozen=True)
class Scales:
    """The scales of all sites, by what they change.

    rows: multiply a layer's rows. columns: divide a layer's columns. constants: divide the initializer at
    (node, position among its inputs). What is not in them stays.
    """

    rows: Mapping[str, Floats]
    columns: Mapping[str, Floats]
    constants: Mapping[tuple[int, int], Floats]


class LayerQuantizer:
    """One model and one recipe, at work. `text`: rows for calibration, where the recipe needs them."""

    def __init__(
        self, graph: FloatGraph, recipe: Recipe, work: Work, text: Sequence[Row], threads: int
    ) -> None:
        self.graph = graph
        self.recipe = recipe
        self.bits: dict[str, int] = {}
        self._work = work
        self._text = text
        self._threads = threads
        self._sites = find_sites(graph)
        self._number = {layer.name: number for number, layer in enumerate(graph.layers)}
        self._fixed = recipe.fixed_bits(graph)
        recipe.check(graph, self._sites)

    def run(self, progress: Progress) -> None:
        """Do what is not done yet; afterwards `bits`, `scales` and `quantized` have the results."""
        self._quantize_sites(progress)
        self.bits = {layer.name: self._first_bits(layer) for layer in self.graph.layers}
        if self.recipe.ratio is not None:
            damage = self._damage(progress)
            for name in most_sensitive(self.graph.layers, damage, self._fixed, self.recipe.ratio):
                self.bits[name] = 8
                if not self._work.has(self._result(name)):
                    layer = self.graph.layer(name)
                    self._save(layer, self._rounded(self._scaled(layer), self.recipe.grid_of(8), None))

    @cached_property
    def scales(self) -> Scales:
        """What AWQ found; empty for the other methods. Only after all sites are done."""
        rows: dict[str, Floats] = {}
        columns: dict[str, Floats] = {}
        constants: dict[tuple[int, int], Floats] = {}
        for number, site in enumerate(self._sites):
            found = self._work.load(f"site-{number}")["scales"] if site.source else None
            if found is None or np.all(found == 1):
                continue
            rows |= {layer.name: found[site.spread] for layer in site.layers}
            match site.source:
                case NormSource(node, inputs):
                    constants |= {(node, position): found for position in inputs}
                case ColumnSource(name, start):
                    layer = self.graph.layer(name)
                    whole = columns.setdefault(name, np.ones(layer.columns, np.float32))
                    whole[start : start + site.width] *= found
        return Scales(rows, columns, constants)

    def quantized(self, layer: Layer) -> Quantized | None:
        """The result for a layer, before its columns are divided; None for one that stays in float32."""
        bits = self.bits[layer.name]
        if bits == FLOAT:
            return None
        arrays = self._work.load(self._result(layer.name))
        return Quantized(self.recipe.grid_of(bits), arrays["codes"], arrays["scales"], arrays["zero_points"])

    def errors(self) -> dict[str, tuple[float, float]]:
        """By the first layer of each site: relative squared output error without and with its scales."""
        found = {}
        for number, site in enumerate(self._sites):
            if site.source and self.recipe.method == "awq":
                arrays = self._work.load(f"site-{number}")
                found[site.layers[0].name] = float(arrays["unscaled"]), float(arrays["error"])
        return found

    def _first_bits(self, layer: Layer) -> int:
        return self._fixed.get(layer.name, self.recipe.bits)

    def _quantize_sites(self, progress: Progress) -> None:
        there = (n for n in range(len(self._sites)) if self._work.has(f"site-{n}"))
        done = sum(len(self._sites[number].layers) for number in there)
        for numbers in self._passes():
            inputs = self._inputs(numbers, progress)
            for number in numbers:
                site = self._sites[number]
                self._quantize_site(number, site, inputs.pop(site.tensor, None))
                done += len(site.layers)
                progress("layers", done, len(self.graph.layers))

    def _passes(self) -> Iterator[list[int]]:
        """The sites not done yet, in batches whose inputs fit the memory."""
        batch: list[int] = []
        room = _MOST_BYTES
        for number, site in enumerate(self._sites):
            if self._work.has(f"site-{number}"):
                continue
            needed = 4 * site.layers[0].rows ** 2
            if batch and needed > room:
                yield batch
                batch, room = [], _MOST_BYTES
            batch.append(number)
            room -= needed
        if batch:
            yield batch

    def _inputs(self, numbers: Sequence[int], progress: Progress) -> dict[str, Inputs]:
        if self.recipe.method != "awq":
            return {}
        sites = [self._sites[number] for number in numbers]
        widths = {site.tensor: site.layers[0].rows for site in sites}
        runner = Runner(
            with_all_positions(self.graph.proto), self.graph.folder, self._threads, watched=list(widths)
        )
        read = iter(range(1, len(self._text) + 1))
        return layer_inputs(
            runner,
            self._text,
            widths,
            lambda: progress("text", next(read), len(self._text)),
        )

    def _quantize_site(self, number: int, site: Site, inputs: Inputs | None) -> None:
        layers = [layer for layer in site.layers if self._first_bits(layer) != FLOAT]
        found = Found(np.ones(site.width, np.float32), 0.0, 0.0)
        if inputs is not None and site.source and layers:
            weights = [self._weight(layer) for layer in layers]
            grid = self.recipe.grid_of(min(map(self._first_bits, layers)))
            found = search_scales(inputs, weights, grid, site.spread, site.width)
        rows = found.scales[site.spread]
        moments = inputs.scaled_moments(rows) if inputs is not None else None
        for layer in layers:
            grid = self.recipe.grid_of(self._first_bits(layer))
            self._save(layer, self._rounded(self._weight(layer) * rows[:, None], grid, moments))
        self._work.save(
            f"site-{number}",
            scales=found.scales,
            error=np.array(found.error),
            unscaled=np.array(found.error_unscaled),
        )

    def _rounded(self, weight: Floats, grid: Grid, moments: Floats | None) -> Quantized:
        """moments: of the layer's inputs, where the method looks at them."""
        if moments is not None and self.recipe.correct:
            return corrected(weight, grid, moments, search=self.recipe.clip)
        if moments is not None and self.recipe.clip:
            return searched(weight, grid, group_moments(moments, grid.group_size))
        return _BY_WEIGHT[self.recipe.method](weight, grid)

    def _damage(self, progress: Progress) -> dict[str, float]:
        """By layer; measured once, and kept after each."""
        path = self._work.folder / "damage.json"
        damage: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        free = [layer for layer in self.graph.layers if layer.name not in self._fixed]
        missing = [layer for layer in free if layer.name not in damage]
        if missing:
            found = damages(self.graph, self._text, missing, self._in_place, self._threads)
            for layer, amount in found:
                damage[layer.name] = amount
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(damage), encoding="utf-8")
                os.replace(partial, path)
                progress("sensitivity", len(damage), len(free))
        return damage

    def _in_place(self, layer: Layer) -> Floats:
        """The rounded weight as the float graph would have it: without the scales of its rows."""
        result = self.quantized(layer)
        assert result is not None, layer
        weight = result.weight()
        scales = self.scales.rows.get(layer.name)
        return weight if scales is None else weight / scales[:, None]

    def _scaled(self, layer: Layer) -> Floats:
        weight, scales = self._weight(layer), self.scales.rows.get(layer.name)
        return weight if scales is None else weight * scales[:, None]

    def _weight(self, layer: Layer) -> Floats:
        return np.asarray(self.graph.read(layer.weight), np.float32)

    def _save(self, layer: Layer, result: Quantized) -> None:
        name = f"layer-{self._number[layer.name]}-{result.grid.bits}"
        self._work.save(name, codes=result.codes, scales=result.scales, zero_points=result.zero_points)

    def _result(self, name: str) -> str:
        return f"layer-{self._number[name]}-{self.bits[name]}"
