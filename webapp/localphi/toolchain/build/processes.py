"""The heavy steps run in processes of their own: their memory is given back, and what they print is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from localphi.config import offline_environment
from localphi.errors import CannotBuild, ToolchainMissing

_LIBRARIES = ("torch", "transformers", "onnx", "onnx_ir", "safetensors")
_TOLD_LINES = 6


def check_toolchain() -> None:
    """Raises ToolchainMissing for the first library that is not installed."""
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise ToolchainMissing(library.replace("_", "-"), "toolchain")


def run_python(module: Sequence[str], log: Path, doing: str, *, stdin: str = "") -> None:
    """Run `python -m MODULE…` without network. What it prints is appended to `log`.

    Raises CannotBuild when it fails, with the last lines of what it said.
    """
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ python -m {' '.join(module)}\n")
        out.flush()
        done = subprocess.run(
            [sys.executable, "-m", *module],
            input=stdin,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env=offline_environment(),
            check=False,
        )
    if done.returncode != 0:
        raise CannotBuild(_failure(doing, done.returncode, log))


def _failure(doing: str, code: int, log: Path) -> str:
    if code in (-9, 137):
        return f"{doing.capitalize()} was killed; most likely the memory of this machine is too small for it."
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = "\n".join(lines[-_TOLD_LINES:])
    return f"{doing.capitalize()} failed (exit code {code}). The last it said:\n{said}"
