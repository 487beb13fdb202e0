"""Where figures come from: the machine, what else it was doing, and the versions of what computes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from localphi.config import available_threads

_DISTRIBUTIONS = (
    "localphi",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-genai",
    "onnxruntime-genai-cuda",
    "onnxruntime-genai-directml",
    "openvino-genai",
)
_BUSY = 0.5


@dataclass(frozen=True)
class Machine:
    """load: processes that wanted a core in the minute before, beside the bench itself; None if unknown."""

    date: str
    processor: str
    cores: int
    memory_gb: float | None
    system: str
    python: str
    versions: dict[str, str]
    load: float | None

    def sentence(self, rounds: int) -> str:
        memory = f", {self.memory_gb:.0f} GB" if self.memory_gb else ""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        busy = (
            f"\nThe machine had other work (load {self.load:.1f}): trust ratios, not figures."
            if self.load is not None and self.load > _BUSY
            else ""
        )
        return (
            f"{self.date[:10]}, {self.processor}, {self.cores} cores{memory}, {self.system}, "
            f"Python {self.python}\n{versions}\nMedians of {rounds} rounds; ± is half of what lies between "
            f"the least and the most.{busy}"
        )


def this_machine() -> Machine:
    """Look before anything is started: the load is that of the others."""
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=_processor(),
        cores=available_threads(),
        memory_gb=_memory_gb(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        versions=_versions(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
