"""From a Hugging Face folder to the int4 graph, configuration and tokenizer that all devices read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from localphi.toolchain.demo.settings import END, END_OF_TEXT, SHAPE
from localphi.toolchain.demo.tokenizer import control_ids

GRAPH = "model.onnx"
WEIGHTS = "model.onnx.data"
CONFIG = "genai_config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

# One graph for Python on the CPU, WebAssembly and WebGPU: float32 in and out, and no int8 activations
# (accuracy_level 4 computes differently on each of them, so that a canary could not hold everywhere).
BUILDER_OPTIONS = (
    "use_webgpu_fp32=true",
    "block_size=32",
    "accuracy_level=0",
    "prune_lm_head=true",
)


Precision = Literal["int4", "fp32"]


def export_model(checkpoint: Path, tokenizer: Path, out: Path, work: Path, precision: Precision) -> None:
    """Fill `out` with graph, weights, configuration and tokenizer, from the weights in `checkpoint`.

    int4 is the graph that is shipped; fp32 its parent, to compare with.
    """
    built = work / "built"
    shutil.rmtree(built, ignore_errors=True)
    _run_builder(checkpoint, tokenizer, built, work / "builder-cache", precision)
    out.mkdir(parents=True, exist_ok=True)
    _copy_graph(built, out)
    config = json.loads((built / CONFIG).read_text(encoding="utf-8"))
    _write_json(out / CONFIG, _portable_config(config))
    copy_tokenizer(tokenizer, out)


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy the tokenizer's files from one folder to another, which may be new."""
    out.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(source / name, out / name)


def _run_builder(checkpoint: Path, tokenizer: Path, built: Path, cache: Path, precision: Precision) -> None:
    copy_tokenizer(tokenizer, checkpoint)
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command += ["-i", str(checkpoint), "-o", str(built), "-c", str(cache)]
    if precision == "int4":
        command += ["-p", "int4", "-e", "webgpu", "--extra_options", *BUILDER_OPTIONS]
    else:
        command += ["-p", "fp32", "-e", "cpu", "--extra_options", "prune_lm_head=true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the model builder failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")


def _copy_graph(built: Path, out: Path) -> None:
    """Save the graph again without what the builder noted about its surroundings (doc strings, metadata)."""
    import onnx

    model: Any = onnx.load(str(built / GRAPH), load_external_data=False)
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]
    (out / GRAPH).write_bytes(model.SerializeToString(deterministic=True))
    shutil.copyfile(built / WEIGHTS, out / WEIGHTS)


def _portable_config(config: dict[str, Any]) -> dict[str, Any]:
    """The builder's configuration, with no provider forced, greedy by default and the demo's context."""
    ids = control_ids()
    model = config["model"]
    model["decoder"]["session_options"] = {"log_id": "onnxruntime-genai", "provider_options": []}
    model["bos_token_id"] = ids[END_OF_TEXT]
    model["eos_token_id"] = [ids[END_OF_TEXT], ids[END]]
    model["pad_token_id"] = ids[END_OF_TEXT]
    model["context_length"] = SHAPE.context
    config["search"] |= {
        "do_sample": False,
        "max_length": SHAPE.context,
        "temperature": 1.0,
        "top_k": 1,
        "top_p": 1.0,
    }
    return config


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
