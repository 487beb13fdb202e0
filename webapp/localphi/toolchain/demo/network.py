"""The network as transformers sees it: a small Phi-3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localphi.toolchain.demo.settings import END, END_OF_TEXT, SHAPE
from localphi.toolchain.demo.tokenizer import control_ids


def new_network(seed: int) -> Any:
    """A `Phi3ForCausalLM` of the demo's shape with fresh weights."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(seed)
    ids = control_ids()
    config = Phi3Config(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        max_position_embeddings=SHAPE.context,
        original_max_position_embeddings=SHAPE.context,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": SHAPE.rope_theta,
            "partial_rotary_factor": 1.0,
        },
        sliding_window=None,
        tie_word_embeddings=False,
        bos_token_id=ids[END_OF_TEXT],
        eos_token_id=[ids[END_OF_TEXT], ids[END]],
        pad_token_id=ids[END_OF_TEXT],
    )
    return Phi3ForCausalLM(config)


def save_network(network: Any, folder: Path) -> None:
    """Write the weights and the configuration as a Hugging Face folder, in float32."""
    network.save_pretrained(folder)
