"""Where a scale can move from one operator into the one before it, without changing what the model computes.

A layer computes x W. Divide each input of it by a scale and multiply the rows of W by the same scales, and
the result stays. The division costs nothing where it can be done to weights that exist already:

    norm -> layers that read it      the norm's own weight              (qkv; gate and up; the head)
    up   -> Mul -> down              the columns of up
    v    -> attention -> o           the columns of v; query heads that share a v share the scales
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.toolchain.quantize.floatgraph import (
    FloatGraph,
    Layer,
    attribute,
    consumers,
    producers,
    with_all_positions,
)

# Position in a norm's inputs of what its scale multiplies: the weight, and the bias where there is one.
_NORMS = {
    "SimplifiedLayerNormalization": (1,),
    "RMSNormalization": (1,),
    "SkipSimplifiedLayerNormalization": (2,),
    "LayerNormalization": (1, 2),
    "SkipLayerNormalization": (2, 3),
}


@dataclass(frozen=True)
class NormSource:
    """A norm; `inputs` are the positions of its weight and bias among the node's inputs."""

    node: int
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class ColumnSource:
    """Columns `start` to `start + width` of a layer's weight."""

    layer: str
    start: int


@dataclass(frozen=True)
class Site:
    """One tensor, and the layers that read it.

    source: into what scales of this tensor can be folded; None where there is nothing.
    spread: which of the `width` scales belongs to each row of the readers' weights.
    """

    tensor: str
    layers: tuple[Layer, ...]
    source: NormSource | ColumnSource | None
    width: int
    spread: NDArray[np.intp]


def find_sites(graph: FloatGraph) -> list[Site]:
    """The sites of all layers, in the order of the graph."""
    return _Finder(graph).sites()


class _Finder:
    def __init__(self, graph: FloatGraph) -> None:
        self._graph = graph
        self._proto = with_all_positions(graph.proto)  # same nodes; the head reads its norm directly
        self._nodes: Any = self._proto.graph.node
        self._readers = consumers(self._proto)
        self._writer = producers(self._proto)
        self._outputs = {output.name for output in self._proto.graph.output}
        self._by_node = {layer.node: layer for layer in graph.layers}

    def sites(self) -> list[Site]:
        by_tensor: dict[str, list[Layer]] = {}
        for layer in self._graph.layers:
            by_tensor.setdefault(self._nodes[layer.node].input[0], []).append(layer)
        return [self._site(tensor, layers) for tensor, layers in by_tensor.items()]

    def _site(self, tensor: str, layers: list[Layer]) -> Site:
        rows = layers[0].rows
        plain = np.arange(rows)
        alone = {layer.node for layer in layers} == set(self._readers[tensor]) and tensor not in self._outputs
        node = self._nodes[self._writer[tensor]] if tensor in self._writer else None
        if node is None or not alone:
            return Site(tensor, tuple(layers), None, rows, plain)
        if node.op_type in _NORMS and (norm := self._norm(tensor, node)):
            return Site(tensor, tuple(layers), norm, rows, plain)
        if node.op_type == "Mul" and (up := self._up(node, rows)):
            return Site(tensor, tuple(layers), up, rows, plain)
        if node.op_type == "GroupQueryAttention" and (value := self._value(node, rows)):
            source, spread = value
            return Site(tensor, tuple(layers), source, int(spread.max()) + 1, spread)
        return Site(tensor, tuple(layers), None, rows, plain)

    def _norm(self, tensor: str, node: Any) -> NormSource | None:
        """The sum that a norm with a skip gives besides is not scaled, only its first output."""
        inputs = tuple(i for i in _NORMS[node.op_type] if i < len(node.input) and node.input[i])
        constant = all(self._graph.is_constant(node.input[i]) for i in inputs)
        if not inputs or not constant or tensor != node.output[0]:
            return None
        return NormSource(self._writer[tensor], inputs)

    def _up(self, node: Any, width: int) -> ColumnSource | None:
        """The factor that comes from a layer directly, not through an activation."""
        for name in node.input:
            source = self._columns(name, width)
            if source:
                return source
        return None

    def _value(self, node: Any, rows: int) -> tuple[ColumnSource, NDArray[np.intp]] | None:
        heads = attribute(node, "num_heads", 0)
        kv_heads = attribute(node, "kv_num_heads", 0)
        if not heads or not kv_heads or rows % heads or heads % kv_heads:
            return None
        size = rows // heads
        packed = len(node.input) < 3 or not node.input[2]
        name = node.input[0] if packed else node.input[2]
        whole = (heads + 2 * kv_heads) * size if packed else kv_heads * size
        source = self._columns(name, whole)
        if source is None:
            return None
        start = source.start + (heads + kv_heads) * size if packed else source.start
        head = np.repeat(np.arange(kv_heads), heads // kv_heads)  # of v, by head of q
        spread = (head[:, None] * size + np.arange(size)).reshape(-1)
        return ColumnSource(source.layer, start), spread

    def _columns(self, name: str, width: int) -> ColumnSource | None:
        """The columns of a layer that a tensor is; neither it nor what it was split from has another use."""
        if len(self._readers.get(name, ())) != 1 or name in self._outputs or name not in self._writer:
            return None
        node = self._nodes[self._writer[name]]
        layer = self._by_node.get(self._writer[name])
        if layer is not None:
            return ColumnSource(layer.name, 0) if layer.columns == width else None
        if node.op_type != "Split":
            return None
        layer = self._by_node.get(self._writer.get(node.input[0], -1))
        if layer is None or len(self._readers[node.input[0]]) != 1:
            return None
        start = self._split_start(node, name, layer.columns, width)
        return None if start is None else ColumnSource(layer.name, start)

    def _split_start(self, node: Any, name: str, columns: int, width: int) -> int | None:
        part = list(node.output).index(name)
        if len(node.input) > 1 and node.input[1]:
            if not self._graph.is_constant(node.input[1]):
                return None
            sizes = [int(size) for size in self._graph.read(node.input[1])]
        else:
            sizes = [columns // len(node.output)] * len(node.output)
        return sum(sizes[:part]) if sizes[part] == width and sum(sizes) == columns else None
