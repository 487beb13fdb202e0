"""Writing pieces of an ONNX graph: nodes under one prefix, and the constants they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.toolchain.quantize.floatgraph import import_onnx

CONTRIB = "com.microsoft"


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
        (name,) = self.add_many(operator, inputs, [output or self.name(operator)], domain=domain, **rest)
        return name

    def add_many(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **rest: Any
    ) -> Sequence[str]:
        """Write a node with several outputs."""
        name = f"{self._prefix}/{operator}_{len(self.written)}"
        node = self._onnx.helper.make_node(operator, inputs, outputs, name=name, domain=domain, **rest)
        self.written.append(node)
        return outputs

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

    def constant(self, values: NDArray[Any]) -> str:
        """A constant; equal ones are kept once."""
        label = "x".join(map(str, values.shape)) or "scalar"
        numbers = "_".join(map(str, values.ravel()[:8].tolist()))
        name = f"{self._prefix}/constant/{values.dtype}/{label}/{numbers}"
        while name in self.constants:
            known = self._onnx.numpy_helper.to_array(self.constants[name])
            if known.dtype == values.dtype and np.array_equal(known, values):
                return name
            name += "'"
        self.constants[name] = self._onnx.numpy_helper.from_array(values, name)
        return name
