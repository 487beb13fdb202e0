"""The model builder of ONNX Runtime GenAI, in a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from localphi.toolchain.build.processes import run_python
from localphi.toolchain.build.recipes import Recipe


def build_graph(checkpoint: Path, recipe: Recipe, out: Path, log: Path, *, only_config: bool = False) -> None:
    """Fill `out` with the graph, its weights, genai_config.json and what the builder makes of the tokenizer.

    only_config: without graph and weights. Raises CannotBuild, with the last lines of what the builder said.
    """
    shutil.rmtree(out, ignore_errors=True)
    cache = out.with_name(f"{out.name}.cache")
    command = ["onnxruntime_genai.models.builder", "-i", str(checkpoint), "-o", str(out), "-c", str(cache)]
    try:
        extra = ["config_only=true"] if only_config else []
        run_python([*command, *recipe.arguments, *extra], log, f"building {recipe.file_name}")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
