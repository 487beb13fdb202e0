"""Execution providers: what ONNX Runtime GenAI can compute with, and what it takes to get the others.

GenAI alone answers yes for providers that it would only hand on to an ONNX Runtime that has them not (0.18:
WebGPU, OpenVINO), and then fails while the model loads. So both are asked, before anything is loaded.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

from localphi.config import PROVIDERS, ProviderName, disable_telemetry
from localphi.errors import ProviderMissing

CUDA_PACKAGE = "onnxruntime-genai-cuda"
GENAI_PACKAGES = ("onnxruntime-genai", CUDA_PACKAGE, "onnxruntime-genai-directml")
"""All install the same module, so there must be one of them at a time."""


@dataclass(frozen=True)
class _Provider:
    """genai, runtime: what each calls it. advice: how to get it."""

    genai: str
    runtime: str
    advice: str


_INSTEAD = "Put {package} in the place of onnxruntime-genai: README, 'Other providers'."
_KNOWN: dict[ProviderName, _Provider] = {
    "cpu": _Provider("cpu", "CPUExecutionProvider", "Install localphi again."),
    "cuda": _Provider(
        "cuda", "CUDAExecutionProvider", _INSTEAD.format(package="onnxruntime-genai-cuda (NVIDIA)")
    ),
    "dml": _Provider(
        "dml", "DmlExecutionProvider", _INSTEAD.format(package="onnxruntime-genai-directml (Windows)")
    ),
    "webgpu": _Provider(
        "WebGPU",
        "WebGpuExecutionProvider",
        "It needs an onnxruntime with WebGPU in it; in a browser the page uses WebGPU without one.",
    ),
    "openvino": _Provider(
        "OpenVINO",
        "OpenVINOExecutionProvider",
        "It needs onnxruntime-openvino; '--backend openvino' uses OpenVINO without it.",
    ),
}


def installed(distribution: str) -> bool:
    """Whether a package is installed, without importing it."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def available_providers() -> tuple[ProviderName, ...]:
    """Those that the installed packages have. Whether there is a device for them shows when a model loads."""
    disable_telemetry()
    import onnxruntime
    import onnxruntime_genai

    has = set(onnxruntime.get_available_providers())

    def genai_has(name: ProviderName) -> bool:
        asks = getattr(onnxruntime_genai, f"is_{name}_available", None)
        return name == "cpu" or bool(asks and asks())

    return tuple(name for name in PROVIDERS if _KNOWN[name].runtime in has and genai_has(name))


def check_provider(name: ProviderName) -> None:
    """Raises ProviderMissing, with what to install."""
    if name not in (available := available_providers()):
        raise ProviderMissing(name, available, _KNOWN[name].advice)


def genai_name(name: ProviderName) -> str:
    """What GenAI's configuration calls it."""
    return _KNOWN[name].genai
