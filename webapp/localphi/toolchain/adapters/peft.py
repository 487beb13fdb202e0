"""Reads the LoRA adapter that Hugging Face's PEFT saves in a folder. Needs neither PEFT nor torch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.errors import AdapterInvalid, ToolchainMissing

CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?:model\.)?(layers\.\d+)\.(self_attn|mlp)\.(\w+)\.lora_([AB])\.weight"
)
_KINDS = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
# What would change more than linear layers, with the value that means nothing of the kind.
_UNKNOWN: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "bias": (None, "none"),
    "modules_to_save": (None, [], ()),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "fan_in_fan_out": (None, False),
}
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What is added to a weight matrix, in two factors. down (inputs, rank); up (rank, outputs), scaled."""

    down: Matrix
    up: Matrix

    @property
    def rank(self) -> int:
        return int(self.down.shape[1])


def read_peft(folder: Path) -> dict[str, Change]:
    """The changes by module, as "layers.0.self_attn.qkv_proj". Raises AdapterInvalid."""
    config = _config(folder)
    scale_of = _scale(config)
    halves: dict[str, dict[str, Matrix]] = {}
    for name, matrix in _tensors(folder / WEIGHTS_NAME):
        match = _KEY.fullmatch(name)
        if match is None:
            raise AdapterInvalid(
                f"The adapter in {folder} changes {name}. Only linear layers of attention and MLP can be "
                "adapted here; train it with other target_modules."
            )
        halves.setdefault(f"{match[1]}.{match[2]}.{match[3]}", {})[match[4]] = matrix
    if not halves:
        raise AdapterInvalid(f"{folder / WEIGHTS_NAME} holds no matrices.")
    changes = {}
    for module, pair in halves.items():
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise AdapterInvalid(
                f"The adapter in {folder} has not both matrices of {module}, or they do not fit."
            )
        rank = pair["A"].shape[0]
        up = pair["B"].T * np.float32(scale_of(rank))
        changes[module] = Change(np.ascontiguousarray(pair["A"].T), np.ascontiguousarray(up))
    return changes


def _config(folder: Path) -> Mapping[str, Any]:
    if not (folder / CONFIG_NAME).is_file() or not (folder / WEIGHTS_NAME).is_file():
        raise AdapterInvalid(
            f"{folder} is no LoRA adapter of PEFT: it must have {CONFIG_NAME} and {WEIGHTS_NAME} "
            "(save it with save_pretrained())."
        )
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterInvalid(f"{folder / CONFIG_NAME} is no JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else config
        raise AdapterInvalid(f"{folder} holds an adapter of the type {kind!r}; only LORA is known here.")
    for name, nothing in _UNKNOWN.items():
        if config.get(name) not in nothing:
            raise AdapterInvalid(f"The adapter in {folder} uses {name}, which is not known here.")
    return config


def _scale(config: Mapping[str, Any]) -> Any:
    alpha = float(config.get("lora_alpha", 8))
    if config.get("use_rslora"):
        return lambda rank: alpha / math.sqrt(rank)
    return lambda rank: alpha / rank


def _tensors(path: Path) -> Iterator[tuple[str, Matrix]]:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError as error:
        raise ToolchainMissing("safetensors", "quantize") from error
    try:
        entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AdapterInvalid(f"{path} is damaged: {error}.") from error
    for name, entry in entries:
        yield name, _matrix(path, name, entry)


def _matrix(path: Path, name: str, entry: Mapping[str, Any]) -> Matrix:
    kind, data, shape = entry["dtype"], bytes(entry["data"]), entry["shape"]
    if kind == "BF16":  # the upper half of a float32
        numbers = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif kind in _KINDS:
        numbers = np.frombuffer(data, _KINDS[kind]).astype(np.float32)
    else:
        raise AdapterInvalid(
            f"{name} in {path} holds numbers of the type {kind}; wanted are float32, 16 or bf16."
        )
    if len(shape) != 2 or not np.isfinite(numbers).all():
        raise AdapterInvalid(f"{name} in {path} is no matrix of finite numbers.")
    return numbers.reshape(shape)
