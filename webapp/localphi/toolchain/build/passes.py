"""Changes to a decoder's graph that leave what it computes as it is, or make a larger model of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from localphi.errors import CannotBuild
from localphi.toolchain.build.recipes import BLOCK_SIZES
from localphi.toolchain.quantize.floatgraph import attribute, import_onnx

_LAYER = re.compile(r"(?<=layers\.)\d+|(?<=past_key_values\.)\d+|(?<=present\.)\d+")
_FINAL_NORM = "final_norm"
_HEAD = "lm_head.MatMul.weight"
_ATTENTIONS = ("GroupQueryAttention", "MultiHeadAttention")
_TURNED_ROWS = 7

BUILT_LAYERS = 3
"""Layers of the graph that `repeat_layers` takes."""


def tidy(proto: Any) -> None:
    """Take out what the builder noted about its surroundings: paths, names of torch modules, doc strings."""
    proto.doc_string = ""
    proto.graph.doc_string = ""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for item in (*proto.graph.node, *proto.graph.initializer, *proto.graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]


def mend_shared_embedding(proto: Any) -> None:
    """Let an embedding that shares an int8 head's weights find them.

    Symptom: with tied embeddings and matmul_mixed_precision=last_matmul:int8, the model builder of ONNX
    Runtime GenAI 0.18 writes a graph that cannot be loaded: the embedding reads lm_head.MatMul.weight_Q8G128
    and …weight_scale, as the quantizer `rtn` names them, but the default quantizer wrote …weight_Q8 and
    …weight_scales. (Using `rtn` instead makes the other layers worse.) Can go when the builder is cured.
    """
    names = {tensor.name for tensor in proto.graph.initializer}
    wrong = {f"{_HEAD}_Q8G{size}": f"{_HEAD}_Q8" for size in BLOCK_SIZES} | {
        f"{_HEAD}_scale": f"{_HEAD}_scales"
    }
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            if name in wrong and name not in names and wrong[name] in names:
                node.input[position] = wrong[name]


def keep_window(proto: Any, config: Mapping[str, Any]) -> None:
    """Let each token see no more tokens than in the checkpoint: the last 2,047 in Phi-3-mini-4k.

    The model builder of ONNX Runtime GenAI 0.18 forgets the window of a config without `layer_types`, where
    transformers applies it to every layer. Raises CannotBuild for an attention that knows no window.
    """
    window = config.get("sliding_window")
    if config.get("layer_types") or not window or window >= config["max_position_embeddings"]:
        return
    attentions = [node for node in proto.graph.node if node.op_type in _ATTENTIONS]
    for node in attentions:
        if node.op_type != "GroupQueryAttention":
            raise CannotBuild(f"The model sees {window} tokens at a time; {node.op_type} cannot do that.")
        found = next((each for each in node.attribute if each.name == "local_window_size"), None)
        if found is None:
            node.attribute.append(import_onnx().helper.make_attribute("local_window_size", window))
        else:
            found.i = window


def repeat_layers(proto: Any, layers: int) -> dict[str, int]:
    """Make a decoder of `layers` layers of one that has three, in place, by repeating the last.

    Three, because the second of Phi-2 still reads the embedding, and only the third is like all that follow.
    Each copy gets weights of its own in the file (a speed test must read them all), turned round by some rows
    in each layer. Gives the turns, in bytes by tensor, for `save_graph`. Raises CannotBuild for a graph that
    does not have three layers.
    """
    graph = proto.graph
    found = sorted({int(match[0]) for node in graph.node if (match := _layer_of(node.name))})
    if found != list(range(BUILT_LAYERS)) or layers < BUILT_LAYERS:
        raise CannotBuild(f"Only a graph of {BUILT_LAYERS} layers can be repeated; this one has {found}.")
    _repeat(graph.node, layers, _rename_node)
    for collection in (graph.initializer, graph.input, graph.output, graph.value_info):
        _repeat(collection, layers, _rename)
    rows = _rows_of_weights(proto)
    turns: dict[str, int] = {}
    for tensor in graph.initializer:
        match = _layer_of(tensor.name)
        if match and int(match[0]) >= BUILT_LAYERS and tensor.name in rows:
            row_bytes = _byte_size(tensor) // rows[tensor.name]
            turns[tensor.name] = int(match[0]) * _TURNED_ROWS % rows[tensor.name] * row_bytes
    return turns


def what_graph_is(proto: Any) -> tuple[int, int, bool]:
    """Bytes of a number in the cache, accuracy level of the layers, and whether the cache stays in place.

    The cache does where GroupQueryAttention is: it writes into the buffer that it reads.
    """
    floats = [entry for entry in proto.graph.input if entry.name.startswith("past_key_values.")]
    half = import_onnx().TensorProto.FLOAT16
    io_bytes = 2 if floats and floats[0].type.tensor_type.elem_type == half else 4
    nodes = proto.graph.node
    levels = [int(attribute(node, "accuracy_level", 0)) for node in nodes if node.op_type == "MatMulNBits"]
    return io_bytes, max(levels, default=0), any(node.op_type == "GroupQueryAttention" for node in nodes)


def data_files(proto: Any) -> list[str]:
    """Names of the files that the graph's weights lie in, in order."""
    entries = (entry for tensor in proto.graph.initializer for entry in tensor.external_data)
    return list(dict.fromkeys(entry.value for entry in entries if entry.key == "location"))


def _repeat(collection: Any, layers: int, rename: Callable[[Any, int, int], None]) -> None:
    """Put copies for the layers to come behind what belongs to the last, and give the end its new number."""
    items = list(collection)
    last = max((number for number, item in enumerate(items) if _is_repeated(item.name)), default=None)
    if last is None:
        return
    copies = []
    for layer in range(BUILT_LAYERS, layers):
        for item in items:
            if _is_repeated(item.name):
                copy = type(item)()
                copy.CopyFrom(item)
                rename(copy, layer, layers)
                copies.append(copy)
    for item in items:
        if not _is_repeated(item.name):
            rename(item, BUILT_LAYERS - 1, layers)
    del collection[:]
    collection.extend([*items[: last + 1], *copies, *items[last + 1 :]])


def _rename_node(node: Any, layer: int, layers: int) -> None:
    inside = _is_repeated(node.name)
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            names[position] = _renamed(name, layer, layers, inside)
    node.name = _renamed(node.name, layer, layers, inside)


def _rename(item: Any, layer: int, layers: int) -> None:
    item.name = _renamed(item.name, layer, layers, _is_repeated(item.name))


def _renamed(name: str, layer: int, layers: int, inside: bool) -> str:
    """The name of the same thing. inside: in the copy `layer` of the last layer, else around the copies."""
    match = _LAYER.search(name)
    if match is None:
        return name
    number, last = int(match[0]), BUILT_LAYERS - 1
    if inside:
        number += layer - last
    elif number >= last:  # the last layer, and the norm behind it
        number += layers - BUILT_LAYERS
    return name[: match.start()] + str(number) + name[match.end() :]


def _layer_of(name: str) -> re.Match[str] | None:
    """Where the number of a layer stands in a name; none in that of the norm after the last layer."""
    return None if _FINAL_NORM in name else _LAYER.search(name)


def _is_repeated(name: str) -> bool:
    match = _layer_of(name)
    return match is not None and int(match[0]) == BUILT_LAYERS - 1


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
