"""The weights of an exported model, to train it further when its float32 parent is gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localphi.toolchain.demo.export import GRAPH
from localphi.toolchain.demo.settings import SHAPE

_BLOCK = 32
_MIDDLE = 8  # the int4 code of zero: the export is symmetric
_FINAL_NORM = f"model.layers.{SHAPE.layers}.final_norm_layernorm.weight"


def start_weights(folder: Path) -> dict[str, Any]:
    """The state dict of the network in `folder`, the int4 matrices as the numbers that they stand for.

    Rounding costs next to nothing here (LOG.md), so a few steps make up for it. Raises KeyError where a
    weight is missing: the folder holds another model.
    """
    import numpy as np
    import onnx
    import torch

    tensors: dict[str, Any] = {
        tensor.name: onnx.numpy_helper.to_array(tensor, str(folder))
        for tensor in onnx.load(str(folder / GRAPH), load_external_data=False).graph.initializer
    }

    def matrix(name: str) -> Any:
        codes, scales = tensors[f"{name}.MatMul.weight_Q4"], tensors[f"{name}.MatMul.weight_scales"]
        numbers = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), -1, _BLOCK)
        return ((numbers.astype(np.float32) - _MIDDLE) * scales[..., None]).reshape(len(codes), -1)

    state = {
        "model.embed_tokens.weight": tensors["model.embed_tokens.weight"],
        "model.norm.weight": tensors[_FINAL_NORM],
        "lm_head.weight": matrix("lm_head"),
    }
    for number in range(SHAPE.layers):
        state |= _layer(f"model.layers.{number}", tensors, matrix)
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()}


def _layer(layer: str, tensors: Mapping[str, Any], matrix: Any) -> dict[str, Any]:
    """One layer; transformers keeps gate and up in one matrix, the graph in two."""
    import numpy as np

    norms = (f"{layer}.input_layernorm.weight", f"{layer}.post_attention_layernorm.weight")
    halves = [matrix(f"{layer}.mlp.{half}_proj") for half in ("gate", "up")]
    return {
        **{name: tensors[name] for name in norms},
        f"{layer}.self_attn.qkv_proj.weight": matrix(f"{layer}.attn.qkv_proj"),
        f"{layer}.self_attn.o_proj.weight": matrix(f"{layer}.attn.o_proj"),
        f"{layer}.mlp.gate_up_proj.weight": np.concatenate(halves),
        f"{layer}.mlp.down_proj.weight": matrix(f"{layer}.mlp.down_proj"),
    }
