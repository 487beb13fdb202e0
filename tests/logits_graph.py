"""A graph as the hub has them: with the logits of every position, not of the last one only."""

from __future__ import annotations

from pathlib import Path

import pytest


def with_all_logits(path: Path) -> None:
    """Rewrite a graph of ours in place. Skips the test where onnx is missing."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'toolchain')")
    model = onnx.load(path, load_external_data=False)
    writers = {name: node for node in model.graph.node for name in node.output}
    head = writers["logits"]
    unsqueeze = writers[head.input[0]]
    head.input[0] = writers[unsqueeze.input[0]].input[0]  # what Gather takes the last position of
    (logits,) = (output for output in model.graph.output if output.name == "logits")
    logits.type.tensor_type.shape.dim[1].dim_param = "sequence_length"
    onnx.save(model, path)
