"""The names that a graph with inputs for LoRA adapters, adapter files and the engine agree on.

A linear layer y = W x becomes y = W x + B (A x). A is (inputs, rank), B is (rank, outputs), with the scale in
it. In the graph both are inputs with a default of rank 0, which adds nothing.
"""

from __future__ import annotations

import json


def lora_inputs(site: str) -> tuple[str, str]:
    """Names of A and B of a site such as "layers.0.attn.qkv_proj"."""
    return f"model.{site}.lora_A.weight", f"model.{site}.lora_B.weight"


def lora_overlay(graph: str) -> str:
    """JSON for `og.Config(folder).overlay`: load this graph instead of the folder's first."""
    return json.dumps({"model": {"decoder": {"filename": graph}}})
