"""The tables of cosines and sines by which queries and keys are turned, as constants of a paged graph."""

from __future__ import annotations

from typing import Any

from localphi.errors import CannotRewrite
from localphi.toolchain.quantize.floatgraph import attribute, constant_value, import_onnx, producers


class RotaryTables:
    """Finds the tables that nodes of a graph read.

    LongRoPE has two and takes the long one for all tokens as soon as a conversation grows beyond a length.
    Then all that was cached is wrong and must be computed again, which no step of an engine with many
    conversations does. So the short one is taken, and `positions` is the length up to which it is right.

    constants: what has to be added to the graph. positions: how many all tables seen so far are right for.
    """

    def __init__(self, proto: Any, prefix: str) -> None:
        self.constants: dict[str, Any] = {}
        self.positions: int | None = None
        self._proto = proto
        self._prefix = prefix
        self._tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._written_by = producers(proto)

    def name(self, node: Any, table: str) -> str:
        """What `node` reads instead of `table`. Raises CannotRewrite when that is no table."""
        tensor, name, right = self._tensors.get(table), table, None
        if tensor is None and (short := self._short(table)):
            right, original = short
            name = f"{self._prefix}/{table}"
            tensor = import_onnx().TensorProto()
            tensor.CopyFrom(original)
            tensor.name = name
            self.constants[name] = tensor
        if tensor is None or len(tensor.dims) != 2:
            raise CannotRewrite(
                f"The node {node.name} reads {table!r}, which is no table of cosines or sines."
            )
        lengths = (self.positions, right, int(tensor.dims[0]))
        self.positions = min(length for length in lengths if length is not None)
        return name

    def size(self, name: str) -> int:
        """How many numbers of a head the table turns."""
        return 2 * int((self.constants.get(name) or self._tensors[name]).dims[1])

    def _short(self, table: str) -> tuple[int, Any] | None:
        """The length of the longest conversation that the short one of two tables is for, and that table."""
        choice = self._writer(table)
        if choice is None or choice.op_type != "If":
            return None
        longer = self._writer(choice.input[0])
        if longer is None or longer.op_type != "Greater":
            return None
        length = constant_value(self._proto, longer.input[1], self._written_by)
        branch = attribute(choice, "else_branch", None)
        wanted = branch.output[list(choice.output).index(table)].name
        found = {tensor.name: tensor for tensor in branch.initializer}
        found |= {
            node.output[0]: attribute(node, "value", None)
            for node in branch.node
            if node.op_type == "Constant"
        }
        if length is None or found.get(wanted) is None:
            return None
        return int(length.reshape(-1)[0]), found[wanted]

    def _writer(self, name: str) -> Any | None:
        number = self._written_by.get(name)
        return None if number is None else self._proto.graph.node[number]
