"""The new model folder: graph, weights, tokenizer, manifest with canary. Whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize
from localphi.models.genai_folder import is_weights
from localphi.models.manifest import (
    SERVER_DEVICES,
    Canary,
    Manifest,
    Variant,
    describe_file,
    write_manifest,
)
from localphi.toolchain.quantize.floatgraph import FloatGraph, Layer, external_data, import_onnx
from localphi.toolchain.quantize.grid import Floats, Quantized
from localphi.toolchain.quantize.layers import Scales

_INSIDE_BYTES = 1024  # a tensor smaller than this stays in the graph file
_ALIGNMENT = 64
_COPY_BYTES = 2**24
_CANARY_TOKENS = 8
Result = Callable[[Layer], Quantized | None]


@dataclass(frozen=True)
class NewModel:
    """What the new manifest says beyond the old one."""

    id: str
    description: str
    origin: dict[str, str]
    canary_prompt: tuple[int, ...]


def check_free(out: Path) -> None:
    """Raises CannotQuantize when there is something at `out` already."""
    if out.exists() or out.is_symlink():
        raise CannotQuantize(f"{out} exists already. Give another --out, or delete it first.")


def write_folder(
    graph: FloatGraph,
    source: Manifest,
    out: Path,
    *,
    result: Result,
    scales: Scales,
    accuracy_level: int,
    new: NewModel,
) -> Manifest:
    """Write the model beside `out` under another name, and rename it when it is whole.

    result: the quantized weight of a layer, None for one that stays. Raises CannotQuantize when the model
    that came out cannot be run.
    """
    check_free(out)
    partial = out.with_name(f".{out.name}.quantizing")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_graph(graph, partial, result, scales, accuracy_level)
        names = [name for name in _other_files(graph, source) if (graph.folder / name).is_file()]
        for name in names:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(graph.folder / name, partial / name)
        manifest = _manifest(
            graph, source, folder=partial, others=names, accuracy_level=accuracy_level, new=new
        )
        write_manifest(partial, manifest)
        check_free(out)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def write_graph(
    graph: FloatGraph, folder: Path, result: Result, scales: Scales, accuracy_level: int = 0
) -> None:
    """Write the graph with MatMulNBits in place of each MatMul that has a result, and its weights beside it.

    A layer without a result keeps its float32 weight, scaled like the others: with no results at all, the
    graph computes what the float model does.
    """
    proto = import_onnx().ModelProto()
    proto.CopyFrom(graph.proto)
    with (folder / f"{graph.file_name}.data").open("wb") as data:
        _Rewriter(graph, proto, data, f"{graph.file_name}.data").write(result, scales, accuracy_level)
    (folder / graph.file_name).write_bytes(proto.SerializeToString(deterministic=True))


class _Rewriter:
    """Replaces nodes and initializers of `proto`, and streams the weights into `data`."""

    def __init__(self, graph: FloatGraph, proto: Any, data: BinaryIO, data_name: str) -> None:
        self._graph = graph
        self._proto = proto
        self._data = data
        self._data_name = data_name
        self._old = {tensor.name: tensor for tensor in graph.proto.graph.initializer}
        self._onnx = import_onnx()

    def write(self, result: Result, scales: Scales, accuracy_level: int) -> None:
        del self._proto.graph.initializer[:]
        for (number, position), divisor in scales.constants.items():
            name = self._proto.graph.node[number].input[position]
            scaled = np.asarray(self._graph.read(name) / divisor, np.float32)
            self._rename_input(number, position, f"{name}_scaled")
            self._add(f"{name}_scaled", scaled)
        for layer in self._graph.layers:
            rows, columns = scales.rows.get(layer.name), scales.columns.get(layer.name)
            quantized = result(layer)
            if quantized is not None:
                self._replace(layer, quantized, columns, accuracy_level)
            elif rows is not None or columns is not None:
                weight = self._graph.read(layer.weight) * _or_one(rows)[:, None] / _or_one(columns)
                self._rename_input(layer.node, 1, f"{layer.weight}_scaled")
                self._add(f"{layer.weight}_scaled", np.asarray(weight, np.float32))
        used = {name for node in self._proto.graph.node for name in node.input}
        used |= {output.name for output in self._proto.graph.output}
        for name, tensor in self._old.items():
            if name in used:
                self._copy(tensor)

    def _replace(
        self, layer: Layer, quantized: Quantized, divisors: Floats | None, accuracy_level: int
    ) -> None:
        grid = quantized.grid
        tensors = quantized.tensors()
        if divisors is not None:  # a column divided is its scales divided
            tensors["scales"] = tensors["scales"] / divisors[:, None]
        inputs = [layer.input]
        for role, values in tensors.items():
            end = f"_Q{grid.bits}" if role == "weight" else f"_{role}"
            name = f"{layer.weight}{end}"
            if name in self._old or any(t.name == name for t in self._proto.graph.initializer):
                name = f"{layer.name}.{role}{end}"  # two layers share a weight
            self._add(name, values)
            inputs.append(name)
        old = self._proto.graph.node[layer.node]
        level = {"accuracy_level": accuracy_level} if accuracy_level else {}
        node = self._onnx.helper.make_node(
            "MatMulNBits",
            inputs,
            list(old.output),
            name=f"{old.name}_Q{grid.bits}" if old.name else "",
            domain="com.microsoft",
            K=layer.rows,
            N=layer.columns,
            bits=grid.bits,
            block_size=grid.group_size,
            **level,
        )
        old.CopyFrom(node)
        if all(entry.domain != "com.microsoft" for entry in self._proto.opset_import):
            self._proto.opset_import.append(self._onnx.helper.make_opsetid("com.microsoft", 1))

    def _rename_input(self, number: int, position: int, name: str) -> None:
        self._proto.graph.node[number].input[position] = name

    def _add(self, name: str, values: NDArray[Any]) -> None:
        tensor = self._proto.graph.initializer.add()
        data = np.ascontiguousarray(values)
        if data.nbytes < _INSIDE_BYTES:
            tensor.CopyFrom(self._onnx.numpy_helper.from_array(data, name))
            return
        tensor.name, tensor.data_type = name, self._onnx.helper.np_dtype_to_tensor_dtype(data.dtype)
        tensor.dims.extend(data.shape)
        self._place(tensor, data.nbytes)
        self._data.write(data.data)

    def _copy(self, tensor: Any) -> None:
        copy = self._proto.graph.initializer.add()
        copy.CopyFrom(tensor)
        if tensor.data_location != self._onnx.TensorProto.EXTERNAL:
            return
        path, offset, length = external_data(self._graph.folder, tensor)
        left = path.stat().st_size - offset if length is None else length
        del copy.external_data[:]
        self._place(copy, left)
        with path.open("rb") as file:
            file.seek(offset)
            while left:
                piece = file.read(min(left, _COPY_BYTES))
                if not piece:
                    raise CannotQuantize(f"{path} ends before the weight {tensor.name} does.")
                self._data.write(piece)
                left -= len(piece)

    def _place(self, tensor: Any, length: int) -> None:
        """Say that the tensor's data comes next in the file."""
        self._data.write(b"\0" * (-self._data.tell() % _ALIGNMENT))
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        for key, value in _location(self._data_name, self._data.tell(), length):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value


def _location(name: str, offset: int, length: int) -> Iterator[tuple[str, str]]:
    yield "location", name
    yield "offset", str(offset)
    yield "length", str(length)


def _or_one(values: Floats | None) -> Floats:
    return np.ones(1, np.float32) if values is None else values


def _other_files(graph: FloatGraph, source: Manifest) -> list[str]:
    """What the variants that use the graph have beside it: configuration and tokenizer."""
    variants = (one for one in source.variants.values() if graph.file_name in one.files)
    names = {name for variant in variants for name in variant.files}
    return sorted(name for name in names if not is_weights(name))


def _manifest(
    graph: FloatGraph,
    source: Manifest,
    *,
    folder: Path,
    others: Sequence[str],
    accuracy_level: int,
    new: NewModel,
) -> Manifest:
    names = (*others, graph.file_name, f"{graph.file_name}.data")
    files = {name: describe_file(folder / name) for name in names}
    canary = Canary(new.canary_prompt, continued(folder, new.canary_prompt, _CANARY_TOKENS))
    variants: dict[str, Variant] = {}
    for device, old in source.variants.items():
        if graph.file_name in old.files:
            # At level 4 each runtime rounds the activations in its own way: what this one answers says
            # nothing about the others.
            speaks = accuracy_level != 4 or device in SERVER_DEVICES
            variants[device] = Variant(
                files=names,
                weights_bytes=files[names[-1]].size,
                kv_bytes_per_token=old.kv_bytes_per_token,
                canary=canary if speaks else None,
            )
    return replace(
        source,
        id=new.id,
        description=new.description,
        origin=new.origin | {"revision": files[names[-1]].sha256[:16]},
        files=files,
        variants=variants,
    )


def continued(folder: Path, prompt: Sequence[int], most: int, *, overlay: str = "") -> tuple[int, ...]:
    """Up to `most` greedy token ids after the prompt. Raises CannotQuantize when GenAI cannot run it.

    overlay: JSON that goes over the folder's genai_config.json.
    """
    disable_telemetry()
    import onnxruntime_genai as og

    try:
        config: Any = og.Config(str(folder))
        if overlay:
            config.overlay(overlay)
        model: Any = og.Model(config)
        params: Any = og.GeneratorParams(model)
        params.set_search_options(do_sample=False, max_length=len(prompt) + most)
        generator: Any = og.Generator(model, params)
        generator.append_tokens(list(prompt))
        answer: list[int] = []
        while len(answer) < most and not generator.is_done():
            generator.generate_next_token()
            answer.append(int(generator.get_next_tokens()[0]))
        return tuple(answer)
    except Exception as error:  # GenAI raises RuntimeError and its own OrtException
        raise CannotQuantize(f"The quantized model cannot be run: {error}") from error
