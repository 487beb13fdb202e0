"""Writing pieces of an ONNX graph: nodes under one prefix, and the constants they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.toolchain.quantize.floatgraph import import_onnx

CONTRIB = "com.microsoft"
FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType


class Nodes:
    """Nodes in the order in which they were written. Every name begins with the prefix."""

    def __init__(self, prefix: str) -> None:
        self.written: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._prefix = prefix
        self._onnx = import_onnx()
        self._count = 0

    def add(
        self, operator: str, *inputs: str, output: str | None = None, domain: str = "", **rest: Any
    ) -> str:
        """Write a node with one output, and give the output's name. `output`: that name, if it matters."""
        (name,) = self._add(operator, inputs, [output or self.name(operator)], domain=domain, **rest)
        return name

    def split(self, source: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Cut a tensor along an axis."""
        outputs = [self.name("Split") for _ in sizes]
        return self._add("Split", [source, self.integers(*sizes)], outputs, axis=axis)

    def cast(self, source: str, kind: int) -> str:
        """The same numbers in another type."""
        return self.add("Cast", source, to=kind)

    def inner(self, label: str) -> Nodes:
        """For the nodes of a body. Its constants are those of the graph around it."""
        body = Nodes(f"{self._prefix}/{label}")
        body.constants = self.constants
        return body

    def scan(self, body: Nodes, slices: Sequence[tuple[str, str, int]], answer: str) -> str:
        """Run `body` for each place along the first axis of some tensors, and stack its answers.

        slices: a tensor, what the body calls one slice of it, and its type. answer: what the body computes,
        in float32.
        """
        helper = self._onnx.helper
        graph = helper.make_graph(
            body.written,
            "body",
            [helper.make_tensor_value_info(name, kind, None) for _, name, kind in slices],
            [helper.make_tensor_value_info(answer, FLOAT, None)],
        )
        tensors = [tensor for tensor, _, _ in slices]
        return self.add("Scan", *tensors, body=graph, num_scan_inputs=len(tensors))

    def either(self, condition: str, then: tuple[Nodes, str], other: tuple[Nodes, str], output: str) -> None:
        """Run one of two bodies. Each comes with the name of what it computes, in float32."""
        helper = self._onnx.helper
        branches = {
            f"{label}_branch": helper.make_graph(
                body.written, label, [], [helper.make_tensor_value_info(answer, FLOAT, None)]
            )
            for label, (body, answer) in (("then", then), ("else", other))
        }
        self.add("If", condition, output=output, **branches)

    def name(self, operator: str) -> str:
        """A new name for the output of a node."""
        self._count += 1
        return f"{self._prefix}/{operator}_{len(self.written)}/output_{self._count}"

    def integers(self, *values: int) -> str:
        """A constant row of int64."""
        return self.constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """A constant int64 without axes."""
        return self.constant(np.array(value, np.int64))

    def constant(self, values: NDArray[Any] | np.float32) -> str:
        """A constant; equal ones are kept once."""
        array = np.asarray(values)
        label = "x".join(map(str, array.shape)) or "scalar"
        numbers = "_".join(map(str, array.ravel()[:8].tolist()))
        name = f"{self._prefix}/constant/{array.dtype}/{label}/{numbers}"
        while name in self.constants:
            known = self._onnx.numpy_helper.to_array(self.constants[name])
            if known.dtype == array.dtype and np.array_equal(known, array):
                return name
            name += "'"
        self.constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def _add(self, operator: str, inputs: Sequence[str], outputs: list[str], **rest: Any) -> list[str]:
        name = f"{self._prefix}/{operator}_{len(self.written)}"
        self.written.append(self._onnx.helper.make_node(operator, inputs, outputs, name=name, **rest))
        return outputs
