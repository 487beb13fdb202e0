"""What models take of the machine's memory: an estimate before they are loaded, the measured figure after."""

from __future__ import annotations

import psutil

from localphi.models.manifest import Manifest

RUNTIME_BYTES = 150 * 1024**2
"""Python and ONNX Runtime in a worker: 110 to 140 MB before any weights (Linux, onnxruntime-genai 0.18)."""
_SHARE = 0.75  # of the machine's memory, where nobody set a budget


def default_budget_bytes() -> int:
    """What the models of a server may take together where nobody said."""
    return int(psutil.virtual_memory().total * _SHARE)


def estimated_bytes(manifest: Manifest, kv_budget_bytes: int, sequences: int, *, graphs: int = 1) -> int:
    """The most that a worker of this model may take. sequences: KV caches that it may have at a time.

    graphs: for how many the weights are loaded.
    """
    variant = manifest.server_variant
    if variant is None:
        return RUNTIME_BYTES
    kv_bytes = sequences * manifest.context_length * variant.kv_bytes_per_token
    return RUNTIME_BYTES + graphs * variant.weights_bytes + min(kv_budget_bytes, kv_bytes)


def resident_bytes(pid: int | None) -> int | None:
    """Memory that a process occupies now, None for one that is not there."""
    if pid is None:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
