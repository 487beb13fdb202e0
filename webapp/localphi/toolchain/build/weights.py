"""The weights of a graph: where they lie, and how they are written again, in files of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from localphi.errors import CannotBuild
from localphi.toolchain.quantize.floatgraph import external_data, import_onnx

SHARD_BYTES = 1_500_000_000
"""Most bytes of a file for browsers, whose ArrayBuffers end at 2 GB."""

_INSIDE_BYTES = 1024  # a tensor smaller than this stays in the graph file, as shape inference wants to see it
_ALIGNMENT = 64
_COPY_BYTES = 2**24


def save_graph(
    proto: Any,
    source: Path,
    target: Path,
    *,
    shard_bytes: int | None = None,
    turns: Mapping[str, int] | None = None,
) -> list[str]:
    """Write the graph as `target`, and its weights beside it as NAME.data, NAME.data.1, …; gives all names.

    proto: its external data lie in the folder `source`; the proto's locations are changed. shard_bytes: begin
    a new file where this one would become larger; a tensor larger than that has a file of its own. turns:
    bytes by which the data of a tensor are turned round, so that a copy has other numbers than its original.
    """
    writer = _Writer(target, shard_bytes)
    try:
        for tensor in proto.graph.initializer:
            writer.take(tensor, source, (turns or {}).get(tensor.name, 0))
    finally:
        writer.close()
    target.write_bytes(proto.SerializeToString(deterministic=True))
    return [target.name, *writer.names]


class _Writer:
    """Streams tensors into data files, each read from where it lay before."""

    def __init__(self, target: Path, shard_bytes: int | None) -> None:
        self._target = target
        self._shard_bytes = shard_bytes
        self._file: BinaryIO | None = None
        self._onnx = import_onnx()
        self.names: list[str] = []

    def take(self, tensor: Any, source: Path, turn: int) -> None:
        """Move one tensor's data into the data files, or into the graph when it is small."""
        if tensor.data_location != self._onnx.TensorProto.EXTERNAL:
            if len(tensor.raw_data) >= _INSIDE_BYTES:
                data, tensor.raw_data = tensor.raw_data, b""
                self._place(tensor, len(data)).write(data)
            return
        path, offset, length = external_data(source, tensor)
        size = path.stat().st_size - offset if length is None else length
        if size < _INSIDE_BYTES:
            data = b"".join(_pieces(path, offset, size))
            del tensor.external_data[:]
            tensor.data_location = self._onnx.TensorProto.DEFAULT
            tensor.raw_data = data
            return
        out = self._place(tensor, size)
        for start, part in ((offset + turn, size - turn), (offset, turn)):
            for piece in _pieces(path, start, part):
                out.write(piece)

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _place(self, tensor: Any, size: int) -> BinaryIO:
        """The file that the tensor's data come into next; the tensor says so."""
        file = self._file
        if file is None or (self._shard_bytes and file.tell() and file.tell() + size > self._shard_bytes):
            file = self._next_file()
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        del tensor.external_data[:]
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        where = {"location": self.names[-1], "offset": str(file.tell()), "length": str(size)}
        for key, value in where.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        return file

    def _next_file(self) -> BinaryIO:
        self.close()
        number = len(self.names)
        self.names.append(f"{self._target.name}.data" + (f".{number}" if number else ""))
        self._file = (self._target.parent / self.names[-1]).open("wb")
        return self._file


def _pieces(path: Path, start: int, size: int) -> Any:
    with path.open("rb") as file:
        file.seek(start)
        while size:
            piece = file.read(min(size, _COPY_BYTES))
            if not piece:
                raise CannotBuild(f"{path} is shorter than its graph says.")
            yield piece
            size -= len(piece)
