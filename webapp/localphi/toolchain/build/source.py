"""What a model is built from: a Hugging Face folder, or a shape to be filled with random weights."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localphi.errors import CannotBuild
from localphi.models.genai_folder import TOKENIZER
from localphi.toolchain.build.shapes import Shape

ARCHITECTURES = (
    "PhiForCausalLM",
    "Phi3ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "GemmaForCausalLM",
)
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face folder that can be built."""

    folder: Path
    config: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        return str(self.config["architectures"][0])

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def layers(self) -> int:
        return int(self.config["num_hidden_layers"])


def read_checkpoint(folder: Path, *, needs_weights: bool = True) -> Checkpoint:
    """The folder, looked at before any work begins. Raises CannotBuild, saying what is missing."""
    config = _config(folder)
    architectures = config.get("architectures") or ["none"]
    if architectures[0] not in ARCHITECTURES:
        raise CannotBuild(
            f"{folder} holds a model of architecture {architectures[0]}, which cannot be built. "
            f"Can be built: {', '.join(ARCHITECTURES)}."
        )
    if config.get("quantization_config"):
        raise CannotBuild(
            f"{folder} is already quantized. Build from the original weights (bfloat16, float16 or float32)."
        )
    files = [path for pattern in _WEIGHTS for path in sorted(folder.glob(pattern))]
    if not files and needs_weights:
        raise CannotBuild(f"{folder} has a config.json but no weights (*.safetensors or pytorch_model*.bin).")
    if not (folder / TOKENIZER).is_file() and not (folder / "tokenizer.model").is_file():
        raise CannotBuild(
            f"{folder} has no {TOKENIZER}. Copy it from where the weights came from, with "
            "tokenizer_config.json; without it text cannot become tokens."
        )
    return Checkpoint(folder, config)


def about_parameters(config: Mapping[str, Any]) -> int:
    """The numbers in the matrices of a decoder with that config."""
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head = int(config.get("head_dim") or hidden // heads)
    gates = 2 if config["model_type"] == "phi" else 3
    layer = hidden * head * (2 * heads + 2 * kv_heads) + gates * hidden * inner
    ends = int(config["vocab_size"]) * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return layer * int(config["num_hidden_layers"]) + ends


def fingerprint(source: Checkpoint | Shape) -> str:
    """Changes when the source does: what a finished graph of an interrupted build was made from."""
    if isinstance(source, Shape):
        parts: list[Any] = [source.name, source.layers, dict(source.config)]
    else:
        paths = sorted(path for path in source.folder.iterdir() if path.is_file())
        parts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def id_of(name: str) -> str:
    """A model id made of a folder's or a shape's name."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "model"


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir() or not path.is_file():
        raise CannotBuild(
            f"{folder} is not a Hugging Face model folder: it has no config.json. Give the folder that holds "
            "config.json, the *.safetensors files and tokenizer.json."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CannotBuild(f"{path} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise CannotBuild(f"{path} is not a JSON object.")
    return config
