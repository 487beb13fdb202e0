"""An ONNX graph of a model folder, run by onnxruntime itself over whole token sequences.

GenAI's Generator gives logits token by token and nothing from inside; here one run reads a sequence at once,
and any tensor of the graph can be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize
from localphi.models.genai_folder import read_genai_config
from localphi.toolchain.quantize.floatgraph import import_onnx

_FLOATS = {1: np.float32, 10: np.float16}  # element types of ONNX


class Runner:
    """A graph ready to run on the CPU.

    watched: tensors to give besides, or instead of, the graph's outputs. replaceable: initializers for which
    `run` takes other values. Raises CannotQuantize for a graph that onnxruntime cannot load.
    """

    def __init__(
        self,
        proto: Any,
        folder: Path,
        threads: int,
        *,
        watched: Sequence[str] = (),
        replaceable: Sequence[str] = (),
    ) -> None:
        config = read_genai_config(folder)
        self._past_shape = (1, config.kv_heads, 0, config.head_size)
        proto = _prepared(proto, watched, replaceable)
        self._inputs: dict[str, int] = {
            entry.name: entry.type.tensor_type.elem_type
            for entry in proto.graph.input
            if entry.name not in replaceable
        }
        self._session = _session(proto, folder, threads)

    def run(
        self, ids: Sequence[int], wanted: Sequence[str], values: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any]]:
        """The wanted tensors of one sequence; values: instead of those of the replaceable initializers."""
        feeds = {name: self._feed(name, kind, len(ids), ids) for name, kind in self._inputs.items()}
        found: list[NDArray[Any]] = self._session.run(list(wanted), feeds | dict(values or {}))
        return found

    def _feed(self, name: str, kind: int, length: int, ids: Sequence[int]) -> NDArray[Any]:
        if name == "input_ids":
            return np.array([ids], np.int64)
        if name == "attention_mask":
            return np.ones((1, length), np.int64)
        if name == "position_ids":
            return np.arange(length, dtype=np.int64)[None]
        if name.startswith("past_") and kind in _FLOATS:
            return np.zeros(self._past_shape, _FLOATS[kind])
        raise CannotQuantize(f"The graph wants an input {name!r}, which is not known here.")


def _prepared(proto: Any, watched: Sequence[str], replaceable: Sequence[str]) -> Any:
    onnx = import_onnx()
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    there = {output.name for output in copy.graph.output}
    for name in watched:
        if name not in there:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    for name in replaceable:  # an initializer that is an input too may be given another value
        tensor = tensors[name]
        copy.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    return copy


def _session(proto: Any, folder: Path, threads: int) -> Any:
    disable_telemetry()
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # warns about shapes that were declared for one position
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    try:
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise CannotQuantize(f"onnxruntime cannot load the graph of {folder}: {error}") from error
