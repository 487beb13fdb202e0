"""The graph of a floating-point model folder: its layers, and their weights read one at a time.

A layer is a MatMul with a float32 weight that stands in the file. The weights stay on the disk until one is
asked for, so that a model may be larger than the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.errors import CannotQuantize, ToolchainMissing
from localphi.models.genai_folder import read_genai_config

_QUANTIZED_OPERATORS = {
    "MatMulNBits",
    "MatMulBnb4",
    "GatherBlockQuantized",
    "DequantizeLinear",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
    "QLinearMatMul",
}


def import_onnx() -> Any:
    """The onnx library. Raises ToolchainMissing, with what to install."""
    try:
        import onnx
    except ImportError:
        raise ToolchainMissing("onnx", "quantize") from None
    return onnx


def graph_name(folder: Path) -> str:
    """The file name of a model folder's graph. Raises ModelFolderInvalid for a folder that is none."""
    return read_genai_config(folder).graph or "model.onnx"


def read_graph(folder: Path, name: str | None = None) -> Any:
    """The ModelProto of a model folder, without what lies in other files. Raises CannotQuantize.

    name: of its file, where it is not the one that genai_config.json names.
    """
    onnx = import_onnx()
    path = folder / (name or graph_name(folder))
    if not path.is_file():
        by = "localphi.json" if name else "genai_config.json"
        raise CannotQuantize(f"{folder} has no {path.name}, which its {by} names.")
    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own errors have no public base
        raise CannotQuantize(f"{path} cannot be read as an ONNX graph: {error}") from error


@dataclass(frozen=True)
class Layer:
    """A MatMul: where it stands in the graph, and its weight of `rows` inputs and `columns` outputs."""

    name: str
    node: int
    weight: str
    rows: int
    columns: int
    input: str
    output: str

    @property
    def size(self) -> int:
        return self.rows * self.columns

    def matches(self, pattern: str) -> bool:
        """Whether the pattern is one or several whole parts of the name; * stands for anything.

        "down_proj", "layers.0" and "layers.*.attn" match "layers.0.mlp.down_proj" or its like.
        """
        return fnmatchcase(f".{self.name}.", f"*.{pattern}.*")


class FloatGraph:
    """The graph of a model folder and its weights. Raises CannotQuantize for a model that is not float32."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file_name = graph_name(folder)
        self.proto: Any = read_graph(folder)
        path = folder / self.file_name
        self._tensors: dict[str, Any] = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        _refuse_quantized(path, self.proto)
        self.layers = tuple(self._find_layers())
        if not self.layers:
            raise CannotQuantize(self._why_no_layers(path))

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def matching(self, pattern: str) -> list[Layer]:
        """The layers that match. Raises CannotQuantize, with what there is, when none does."""
        found = [layer for layer in self.layers if layer.matches(pattern)]
        if not found:
            parts = sorted({part for layer in self.layers for part in layer.name.split(".")}, key=_sort_key)
            raise CannotQuantize(
                f"No layer matches {pattern!r}. The names are made of {', '.join(parts)}; "
                f"the first layers are {', '.join(layer.name for layer in self.layers[:4])}."
            )
        return found

    def is_constant(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str) -> Any:
        """The TensorProto of an initializer, its data perhaps in another file."""
        return self._tensors[name]

    def read(self, name: str) -> NDArray[Any]:
        """The numbers of an initializer. What lies in another file is mapped, not copied."""
        onnx = import_onnx()
        tensor = self._tensors[name]
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return np.asarray(onnx.numpy_helper.to_array(tensor))
        path, offset, _ = external_data(self.folder, tensor)
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        try:
            mapped: NDArray[Any] = np.memmap(path, kind, "r", offset, shape)
        except (OSError, ValueError) as error:
            raise CannotQuantize(f"{path} does not hold the weight {name}: {error}.") from error
        return mapped

    def _find_layers(self) -> Iterable[Layer]:
        names: set[str] = set()
        float32 = import_onnx().TensorProto.FLOAT
        for number, node in enumerate(self.proto.graph.node):
            tensor = self._tensors.get(node.input[1]) if node.op_type == "MatMul" else None
            if tensor is None or len(tensor.dims) != 2 or tensor.data_type != float32:
                continue
            rows, columns = tensor.dims
            name = _layer_name(node.name or node.input[1])
            if name in names:
                name = f"{name}#{number}"
            names.add(name)
            yield Layer(name, number, tensor.name, rows, columns, node.input[0], node.output[0])

    def _why_no_layers(self, path: Path) -> str:
        types = import_onnx().TensorProto.DataType
        matrices = [tensor for tensor in self._tensors.values() if len(tensor.dims) == 2]
        found = sorted({types.Name(tensor.data_type).lower() for tensor in matrices})
        advice = "Export the model in float32 (model builder: -p fp32 -e cpu)."
        if found and found != ["float"]:
            return f"{path} has weights of type {', '.join(found)}, but float32 is wanted. {advice}"
        return f"{path} has no MatMul with a weight of its own, so there is nothing to quantize. {advice}"


def external_data(folder: Path, tensor: Any) -> tuple[Path, int, int | None]:
    """File, offset and length in bytes of a tensor whose data lies outside the graph."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = folder / entries.get("location", "")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CannotQuantize(f"The weight {tensor.name} lies outside the model folder: {path}.")
    length = int(entries["length"]) if "length" in entries else None
    return path, int(entries.get("offset", 0)), length


def _refuse_quantized(path: Path, proto: Any) -> None:
    found = sorted({node.op_type for node in proto.graph.node} & _QUANTIZED_OPERATORS)
    if found:
        raise CannotQuantize(
            f"{path} is already quantized (it has {', '.join(found)}). "
            "Quantizing again would only lose more: start from the float32 export it was made of."
        )


def _layer_name(text: str) -> str:
    """ "/model/layers.0/mlp/down_proj/MatMul" -> "layers.0.mlp.down_proj"."""
    name = text.strip("/").replace("/", ".")
    name = name.removesuffix(".weight").removesuffix(".MatMul")
    return name.removeprefix("model.")


def _sort_key(part: str) -> tuple[bool, int, str]:
    number = re.fullmatch(r"\d+", part)
    return number is not None, int(part) if number else 0, part


def consumers(proto: Any) -> dict[str, list[int]]:
    """Numbers of the nodes that read each tensor, of those nodes that the outputs depend on."""
    found: dict[str, list[int]] = {output.name: [] for output in proto.graph.output}
    for number, node in reversed(list(enumerate(proto.graph.node))):  # nodes stand after what they read
        if any(name in found for name in node.output):
            for name in filter(None, node.input):
                found.setdefault(name, []).append(number)
    return found


def producers(proto: Any) -> dict[str, int]:
    """Number of the node that writes each tensor."""
    return {name: number for number, node in enumerate(proto.graph.node) for name in node.output if name}


def attribute(node: Any, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    onnx = import_onnx()
    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def with_all_positions(proto: Any) -> Any:
    """A copy of the graph whose logits are those of every position.

    Exports for generation compute them for the last position only: a Gather of index -1 and an Unsqueeze
    stand before the head. The copy leaves the two out. Other graphs are copied as they are.
    """
    onnx = import_onnx()
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    written_by = producers(copy)
    pruned = {
        node.output[0]: graph.node[written_by[node.input[0]]].input[0]
        for node in graph.node
        if node.op_type == "Unsqueeze" and _takes_last(copy, written_by.get(node.input[0]), written_by)
    }
    if pruned:
        for node in graph.node:
            for position, name in enumerate(node.input):
                node.input[position] = pruned.get(name, name)
        del graph.value_info[:]  # some of it says that there is one position
        for output in graph.output:
            dims = output.type.tensor_type.shape.dim
            if len(dims) == 3:
                dims[1].dim_param = "sequence_length"
    return copy


def _takes_last(proto: Any, number: int | None, written_by: dict[str, int]) -> bool:
    node = proto.graph.node[number] if number is not None else None
    if node is None or node.op_type != "Gather" or attribute(node, "axis", 0) != 1:
        return False
    index = constant_value(proto, node.input[1], written_by)
    return index is not None and index.ndim == 0 and int(index) == -1


def constant_value(proto: Any, name: str, written_by: dict[str, int]) -> NDArray[Any] | None:
    """A small constant, written as an initializer or as a Constant node."""
    to_array = import_onnx().numpy_helper.to_array
    tensor = next((tensor for tensor in proto.graph.initializer if tensor.name == name), None)
    if tensor is None and name in written_by:
        node = proto.graph.node[written_by[name]]
        tensor = attribute(node, "value", None) if node.op_type == "Constant" else None
    return None if tensor is None else np.asarray(to_array(tensor))
