"""Add to a model folder the graph that ONNX Runtime GenAI's engine serves many conversations with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize, CannotRewrite
from localphi.models.genai_folder import read_genai_config
from localphi.models.manifest import (
    Manifest,
    PagedGraph,
    Variant,
    describe_file,
    load_manifest,
    write_manifest,
)
from localphi.toolchain.graphs.paged_answer import paged_answer
from localphi.toolchain.graphs.paged_rewrite import paged_proto
from localphi.toolchain.quantize.floatgraph import graph_name, read_graph
from localphi.toolchain.quantize.folder import continued

PAGED_NAME = "model-paged.onnx"
DEVICE = "server-cpu"
BLOCK_TOKENS = 32
_PROMPT_TOKENS, _ANSWER_TOKENS = 40, 8
_TIE = 0.1  # of the logits' standard deviation; what is wrong is off by several of them


def add_paged_graph(folder: Path) -> PagedGraph:
    """Write `model-paged.onnx` beside the graph of a model folder, and list it in its localphi.json.

    The new graph reads the same weights. It is tried before it is listed: its answer must be that of the
    other graph. A folder that has one gets it anew; a run that is cut off leaves the folder as it was,
    perhaps with a file more. Raises ModelFolderInvalid, and CannotRewrite, naming the node in the way.
    """
    manifest = load_manifest(folder)
    variant = manifest.variants.get(DEVICE)
    if variant is None:
        raise CannotRewrite(
            f"{folder} has no variant {DEVICE}, and only that is served with a paged graph. "
            f"It has {', '.join(manifest.variants)}."
        )
    partial = folder / f"{PAGED_NAME}.partial"
    try:
        paged = _write(folder, partial, manifest.context_length)
        _compare(folder, replace(paged, graph=partial.name), _prompt(manifest, variant))
        os.replace(partial, folder / PAGED_NAME)
    finally:
        partial.unlink(missing_ok=True)
    names = (*(name for name in variant.files if name != PAGED_NAME), PAGED_NAME)
    files = {**manifest.files, PAGED_NAME: describe_file(folder / PAGED_NAME, manifest.chunk_bytes)}
    variants = {**manifest.variants, DEVICE: replace(variant, files=names, paged=paged)}
    write_manifest(folder, replace(manifest, files=files, variants=variants))
    return paged


def _write(folder: Path, target: Path, context_length: int) -> PagedGraph:
    config = read_genai_config(folder)
    try:
        proto = read_graph(folder)
    except CannotQuantize as error:
        raise CannotRewrite(error.message) from error
    rewritten = paged_proto(proto, head_size=config.head_size, block_tokens=BLOCK_TOKENS)
    target.write_bytes(rewritten.proto.SerializeToString(deterministic=True))
    lengths = (context_length, config.context_length, rewritten.positions)
    return PagedGraph(PAGED_NAME, BLOCK_TOKENS, min(length for length in lengths if length is not None))


def _compare(folder: Path, paged: PagedGraph, prompt: Sequence[int]) -> None:
    """Raises CannotRewrite when the two graphs answer differently, or the new one does not run.

    Where two tokens are as good as equally likely, either may follow: the graphs round differently.
    """
    disable_telemetry()
    prompt = prompt[: paged.max_sequence_tokens - _ANSWER_TOKENS]
    try:
        expected = continued(folder, prompt, _ANSWER_TOKENS)
        answer = paged_answer(folder, paged, prompt, _ANSWER_TOKENS)
        same = _same_tokens(answer, expected)
        if same < min(len(answer), len(expected)):
            before = [*prompt, *expected[:same]]
            right = _nearly_chosen(folder, before, answer[same])
        else:
            right = len(answer) >= len(expected) - 1  # one that ends the answer is not told by both
    except (CannotQuantize, RuntimeError) as error:
        raise CannotRewrite(f"ONNX Runtime GenAI cannot run the graph of {folder}: {error}") from error
    if not right:
        raise CannotRewrite(
            f"The paged graph of {folder} answers {list(answer)}, where {graph_name(folder)} answers "
            f"{list(expected)}. It was not added; please report it with the model's architecture."
        )


def _same_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """How many they begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _nearly_chosen(folder: Path, ids: Sequence[int], token: int) -> bool:
    """Whether the model of a folder finds `token` nearly as likely as its first choice after `ids`."""
    import onnxruntime_genai as og

    model: Any = og.Model(str(folder))
    params: Any = og.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=len(ids) + 1)
    generator: Any = og.Generator(model, params)
    generator.append_tokens(list(ids))
    logits = np.asarray(generator.get_logits()).reshape(-1)
    return bool(logits.max() - logits[token] <= _TIE * logits.std())


def _prompt(manifest: Manifest, variant: Variant) -> Sequence[int]:
    if variant.canary and variant.canary.prompt:
        return variant.canary.prompt
    return range(5, 5 + _PROMPT_TOKENS)
