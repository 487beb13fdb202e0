"""Changes to a decoder's graph that leave what it computes as it is, or make a larger model of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from localphi.errors import CannotBuild
from localphi.toolchain.quantize.floatgraph import attribute, import_onnx

_LAYER = re.compile(r"(?<=layers\.)\d+|(?<=past_key_values\.)\d+|(?<=present\.)\d+")
_FINAL_NORM = "final_norm"


def tidy(proto: Any) -> None:
    """Take out what the builder noted about its surroundings: paths, names of torch modules, doc strings."""
    proto.doc_string = ""
    proto.graph.doc_string = ""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for item in (*proto.graph.node, *proto.graph.initializer, *proto.graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]


def repeat_layers(proto: Any, layers: int) -> dict[str, int]:
    """Make a decoder of `layers` layers of one that has two, in place, by repeating the second.

    Each copy gets weights of its own in the file (a speed test must read them all), turned round by some rows
    in each layer. Gives the turns, in bytes by tensor, for `save_graph`. Raises CannotBuild for a graph that
    does not have two layers.
    """
    graph = proto.graph
    found = {int(match[0]) for node in graph.node if (match := _layer_of(node.name))}
    if found != {0, 1} or layers < 2:
        raise CannotBuild(f"Only a graph of two layers can be repeated; this one has {sorted(found)}.")
    turns: dict[str, int] = {}
    _repeat(graph.node, layers, lambda node: _is_of_layer_1(node.name), _rename_node)
    _repeat(graph.initializer, layers, lambda tensor: _is_of_layer_1(tensor.name), _rename)
    for collection in (graph.input, graph.output, graph.value_info):
        _repeat(collection, layers, lambda info: _is_of_layer_1(info.name), _rename)
    rows = _rows_of_weights(proto)
    for tensor in graph.initializer:
        match = _layer_of(tensor.name)
        if match and int(match[0]) > 1 and tensor.name in rows:
            size = _byte_size(tensor)
            row = size // rows[tensor.name]
            turns[tensor.name] = int(match[0]) * 7 % rows[tensor.name] * row
    return turns


def _repeat(
    collection: Any, layers: int, is_layer_1: Callable[[Any], bool], rename: Callable[[Any, int, int], None]
) -> None:
    """Put copies for the layers 2… behind what belongs to layer 1, and give the end its new number."""
    items = list(collection)
    last = max((number for number, item in enumerate(items) if is_layer_1(item)), default=None)
    if last is None:
        return
    copies = []
    for layer in range(2, layers):
        for item in filter(is_layer_1, items):
            copy = type(item)()
            copy.CopyFrom(item)
            rename(copy, layer, layers)
            copies.append(copy)
    for item in items:
        if not is_layer_1(item):
            rename(item, 1, layers)
    del collection[:]
    collection.extend([*items[: last + 1], *copies, *items[last + 1 :]])


def _rename_node(node: Any, layer: int, layers: int) -> None:
    inside = _is_of_layer_1(node.name)
    node.name = _renamed(node.name, layer, layers, inside)
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            names[position] = _renamed(name, layer, layers, inside)


def _rename(item: Any, layer: int, layers: int) -> None:
    item.name = _renamed(item.name, layer, layers, _is_of_layer_1(item.name))


def _renamed(name: str, layer: int, layers: int, inside: bool) -> str:
    """The name of the same thing for a copy of layer 1; what is not in a copy names the last layer, or the end."""
    match = _LAYER.search(name)
    if match is None:
        return name
    number = int(match[0])
    if inside:
        new = layer - 1 + number
    elif _FINAL_NORM in name or number >= 2:
        new = layers - 2 + number
    else:
        new = number if number == 0 else layers - 1
    return name[: match.start()] + str(new) + name[match.end() :]


def _layer_of(name: str) -> re.Match[str] | None:
    """Where the number of a layer stands in a name; none in that of the norm after the last layer."""
    return None if _FINAL_NORM in name else _LAYER.search(name)


def _is_of_layer_1(name: str) -> bool:
    match = _layer_of(name)
    return match is not None and match[0] == "1"


def _rows_of_weights(proto: Any) -> dict[str, int]:
    """How many rows, one for each output of a quantized MatMul or each input of another, a weight has."""
    rows: dict[str, int] = {}
    dims = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "MatMulNBits":
            rows.update(dict.fromkeys(filter(None, node.input[1:4]), int(attribute(node, "N", 0))))
        elif node.op_type == "MatMul" and len(dims.get(node.input[1], ())) == 2:
            rows[node.input[1]] = dims[node.input[1]][0]
    return rows


def _byte_size(tensor: Any) -> int:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return int(entries["length"]) if "length" in entries else len(tensor.raw_data)


def import_graph(path: Any) -> Any:
    """The ModelProto at `path`, its weights left where they are. Raises CannotBuild."""
    try:
        return import_onnx().load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own errors have no public base
        raise CannotBuild(f"{path} cannot be read as an ONNX graph: {error}") from error
