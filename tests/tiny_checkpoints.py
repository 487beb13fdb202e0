"""Checkpoints of every family that `localphi build` takes: small Hugging Face folders with random weights."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localphi.toolchain.build import builder
from localphi.toolchain.build.vocabulary import write_tokenizer

VOCABULARY, HIDDEN, CONTEXT, SHORT_CONTEXT = 320, 128, 256, 64


@dataclass(frozen=True)
class Tiny:
    """config: what differs from the common one. control: tokens that are no text."""

    architecture: str
    model_type: str
    control: dict[int, str]
    config: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""


PHI_3_TOKENS = {0: "<|endoftext|>", 1: "<|system|>", 2: "<|user|>", 3: "<|assistant|>", 4: "<|end|>"}
_TOOL_TOKENS = ("<|tool|>", "<|/tool|>", "<|tool_call|>", "<|/tool_call|>", "<|tool_response|>")
_PHI_4_TOKENS = PHI_3_TOKENS | {5 + n: token for n, token in enumerate(_TOOL_TOKENS)}
_LLAMA_TOKENS = {0: "<unk>", 1: "<s>", 2: "</s>"}
_CHATML_TOKENS = _LLAMA_TOKENS | {3: "<|im_start|>", 4: "<|im_end|>"}
_GEMMA_TOKENS = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<start_of_turn>", 4: "<end_of_turn>"}


def _longrope(rotary_dims: int) -> dict[str, Any]:
    half = rotary_dims // 2
    return {
        "original_max_position_embeddings": SHORT_CONTEXT,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1 + 0.02 * n for n in range(half)],
            "long_factor": [1 + 0.5 * n for n in range(half)],
        },
    }


TINY = {
    "phi-2": Tiny(
        "PhiForCausalLM",
        "phi",
        {0: "<|endoftext|>"},
        {"partial_rotary_factor": 0.5, "hidden_act": "gelu_new", "num_key_value_heads": 4},
    ),
    "phi-3": Tiny(
        "Phi3ForCausalLM",
        "phi3",
        PHI_3_TOKENS,
        {"original_max_position_embeddings": CONTEXT, "num_key_value_heads": 4, "sliding_window": 24},
    ),
    "phi-3.5": Tiny("Phi3ForCausalLM", "phi3", PHI_3_TOKENS, {"num_key_value_heads": 4, **_longrope(32)}),
    "phi-4": Tiny(
        "Phi3ForCausalLM",
        "phi3",
        _PHI_4_TOKENS,
        {"hidden_size": 256, "partial_rotary_factor": 0.75, "tie_word_embeddings": True, **_longrope(48)},
    ),
    "llama-2": Tiny(
        "LlamaForCausalLM",
        "llama",
        _LLAMA_TOKENS,
        {"num_key_value_heads": 4},
        {"add_bos_token": True, "chat_template": "{{ '[INST] <<SYS>>' }}"},
        "<s>",
    ),
    "chatml": Tiny("LlamaForCausalLM", "llama", _CHATML_TOKENS, {"rope_theta": 1e6}),
    "mistral": Tiny(
        "MistralForCausalLM",
        "mistral",
        _LLAMA_TOKENS,
        {"sliding_window": None},
        {"chat_template": "{{ bos_token + '[INST] ' }}"},
        "<s>",
    ),
    "gemma": Tiny(
        "GemmaForCausalLM",
        "gemma",
        _GEMMA_TOKENS,
        {
            "head_dim": 48,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
        },
        {"add_bos_token": True},
        "<bos>",
    ),
}


@contextlib.contextmanager
def building_here() -> Iterator[None]:
    """The model builder runs in this process instead of one of its own, so that torch is loaded once."""

    def run_here(module: Sequence[str], log: Path, doing: str, *, stdin: str = "") -> None:
        before, sys.argv = sys.argv, list(module)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                runpy.run_module(module[0], run_name="__main__", alter_sys=True)
        finally:
            sys.argv = before

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "run_python", run_here)
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def write_checkpoint(folder: Path, tiny: Tiny, layers: int = 2) -> Path:
    """Make the checkpoint in `folder`, which does not exist yet."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {
        "architectures": [tiny.architecture],
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "initializer_range": 0.2,  # far apart logits: the ids do not hang on a rounding
        "bos_token_id": min(tiny.control),
        "eos_token_id": max(tiny.control),
        "pad_token_id": min(tiny.control),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        config: Any = AutoConfig.for_model(tiny.model_type, **(common | tiny.config))
        untyped: Any = AutoModelForCausalLM
        model = untyped.from_config(config, dtype=torch.float32)
        for name, values in model.named_parameters():
            if "norm" in name:
                values.data.add_(torch.randn_like(values) * 0.1)
        model.get_output_embeddings().weight.data[list(tiny.control)] = 0  # answers do not end by chance
        model.save_pretrained(str(folder))
    first = next((number for number, text in tiny.control.items() if text == tiny.prefix), min(tiny.control))
    write_tokenizer(folder, VOCABULARY, tiny.control, begin=first, end=max(tiny.control), context=CONTEXT)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | tiny.tokenizer), encoding="utf-8")
    return folder
