"""LoRA adapters as PEFT saves them, with random matrices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from localphi.models.manifest import load_manifest

CONFIG: Mapping[str, Any] = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "use_dora": False}


def module_sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each linear layer of a Phi-3 checkpoint that has become this model folder."""
    lora = load_manifest(folder).variants["server-cpu"].lora
    assert lora is not None
    sizes = {site.replace(".attn.", ".self_attn."): tuple(size) for site, size in lora.sites.items()}
    for module in [module for module in sizes if module.endswith("gate_proj")]:
        inputs, outputs = sizes.pop(module)
        sizes[module.replace("gate_proj", "gate_up_proj")] = (inputs, 2 * outputs)
        del sizes[module.replace("gate_proj", "up_proj")]
    return {module: (size[0], size[1]) for module, size in sizes.items()}


def matrices(
    sizes: Mapping[str, tuple[int, int]], seed: int, rank: int = 4, strength: float = 0.2
) -> dict[str, Any]:
    """lora_A (rank, inputs) and lora_B (outputs, rank) of each module, by PEFT's names."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for module, (inputs, outputs) in sizes.items():
        name = f"base_model.model.model.{module}"
        made[f"{name}.lora_A.weight"] = random.standard_normal((rank, inputs), np.float32) * strength
        made[f"{name}.lora_B.weight"] = random.standard_normal((outputs, rank), np.float32) * strength
    return made


def write_peft(folder: Path, tensors: Mapping[str, Any], **config: Any) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file(dict(tensors), str(folder / "adapter_model.safetensors"))
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}), encoding="utf-8")
    return folder
