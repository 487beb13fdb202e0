"""Initializers of an ONNX file, read where they lie, and quantized matrices as OpenVINO wants them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localphi.errors import CannotConvert

Array = npt.NDArray[Any]
_NIBBLE_SIGN = 0x88  # flips both halves of a byte between 0…15 around 8 and -8…7


class Weights(Mapping[str, Array]):
    """Arrays by the names of the initializers, mapped from the disk where they lie in a file of their own."""

    def __init__(self, graph: Any, folder: Path) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._folder = folder

    def __getitem__(self, name: str) -> Array:
        from onnx import TensorProto, helper, numpy_helper

        tensor = self._tensors[name]
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor))
        place = {entry.key: entry.value for entry in tensor.external_data}
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        path = self._folder / place["location"]
        return np.memmap(path, kind, "r", int(place.get("offset", 0)), tuple(tensor.dims))

    def __iter__(self) -> Any:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def quantized_matrix(packed: Array, scales: Array, zeros: Array | None, shape: MatrixShape) -> Any:
    """The (N, K) matrix of a MatMulNBits: a subgraph that multiplies integers by the scales of their blocks.

    OpenVINO's CPU plugin sees that form and computes with the integers themselves. packed: uint8, (N, blocks,
    bytes); scales: (N · blocks); zeros: as ONNX packs them, None where they lie in the middle.
    """
    import openvino as ov
    import openvino.opset13 as ops

    blocks = -(-shape.k // shape.block)
    if blocks * shape.block != shape.k:
        raise CannotConvert(f"A matrix of {shape.k} rows is not a multiple of its block of {shape.block}.")
    dims = [shape.n, blocks, shape.block]
    factors = ops.constant(np.ascontiguousarray(scales, np.float32).reshape(shape.n, blocks, 1))
    if zeros is None:
        integers = _signed(packed, shape.bits, dims)
        values = ops.convert(integers, ov.Type.f32)
    else:
        unsigned = ov.Type.u4 if shape.bits == 4 else ov.Type.u8
        values = ops.convert(_constant(np.array(packed), dims, unsigned), ov.Type.f32)
        middle = _zeros(zeros, shape, blocks)
        values = ops.subtract(values, ops.convert(middle, ov.Type.f32))
    scaled = ops.multiply(values, factors)
    return ops.reshape(scaled, ops.constant(np.array([shape.n, shape.k], np.int64)), special_zero=False)


class MatrixShape:
    """n outputs, k inputs; bits of a weight; weights of a block."""

    def __init__(self, n: int, k: int, bits: int, block: int) -> None:
        if bits not in (4, 8):
            raise CannotConvert(f"Weights of {bits} bits are not known here, only of 4 and 8.")
        self.n, self.k, self.bits, self.block = n, k, bits, block


def _signed(packed: Array, bits: int, dims: list[int]) -> Any:
    import openvino as ov

    flip = _NIBBLE_SIGN if bits == 4 else 0x80
    return _constant(np.bitwise_xor(packed, np.uint8(flip)), dims, ov.Type.i4 if bits == 4 else ov.Type.i8)


def _zeros(zeros: Array, shape: MatrixShape, blocks: int) -> Any:
    """Zero points as one byte each; ONNX packs two of 4 bits into a byte and pads each row."""
    import openvino.opset13 as ops

    rows = np.asarray(zeros, np.uint8).reshape(shape.n, -1)
    if shape.bits == 4:
        rows = np.stack([rows & 0x0F, rows >> 4], axis=-1).reshape(shape.n, -1)
    return ops.constant(np.ascontiguousarray(rows[:, :blocks]).reshape(shape.n, blocks, 1))


def _constant(data: Array, dims: list[int], kind: Any) -> Any:
    import openvino as ov
    import openvino.opset13 as ops

    tensor = ov.Tensor(kind, ov.Shape(dims))  # owns its memory; one around an array would not keep that alive
    tensor.data.reshape(-1).view(np.uint8)[:] = np.ascontiguousarray(data).reshape(-1)
    return ops.constant(tensor)
