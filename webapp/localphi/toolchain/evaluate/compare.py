"""How far quantized models are from the float model they came from, token by token.

perplexity     how surprised a model is by the text: 1 would be not at all
KL             how much its next-token probabilities differ from the float model's, in nats; 0 is not at all
top-1          how often its most likely next token is the float model's

Each twice: over every token of the text, and over the tokens of answers alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localphi.errors import ModelFolderInvalid
from localphi.models.genai_folder import is_weights
from localphi.models.manifest import load_manifest
from localphi.toolchain.quantize.calibration import Row
from localphi.toolchain.quantize.floatgraph import read_graph, with_all_positions
from localphi.toolchain.quantize.runner import Runner
from localphi.toolchain.quantize.sensitivity import divergence, log_probabilities

_POSITIONS = 128  # whose probabilities are computed at once; a big vocabulary takes a megabyte for each


@dataclass(frozen=True)
class Distance:
    """Means over `tokens` predicted tokens. kl in nats; agreement from 0 to 1."""

    tokens: int
    perplexity: float
    kl: float
    agreement: float


@dataclass(frozen=True)
class Compared:
    """size_bytes: of graph and weights."""

    name: str
    size_bytes: int
    everything: Distance
    answers: Distance


def compare(
    parent: Path,
    models: Sequence[Path],
    rows: Sequence[Row],
    threads: int,
    on_row: Callable[[], object] = lambda: None,
) -> list[Compared]:
    """The float model first, then each model beside it. Raises ModelFolderInvalid for another vocabulary."""
    runners = [_runner(folder, threads) for folder in (parent, *models)]
    sums = [_Sums() for _ in runners]
    for row in rows:
        logits = [runner.run(row.ids, ["logits"])[0][0] for runner in runners]
        for folder, found in zip(models, logits[1:], strict=True):
            if found.shape != logits[0].shape:
                raise ModelFolderInvalid(
                    f"{folder} has {found.shape[-1]} tokens and {parent} has {logits[0].shape[-1]}: "
                    "they are not the same model."
                )
        _add_row(sums, logits, row)
        on_row()
    folders = (parent, *models)
    return [_compared(folder, one) for folder, one in zip(folders, sums, strict=True)]


def table(results: Sequence[Compared]) -> str:
    """One line a model; the float model has no distance from itself."""
    width = max(len(result.name) for result in results)
    lines = [
        f"{'':<{width}}  {'':>8}  {'all tokens':^32}  {'answers':^32}".rstrip(),
        f"{'':<{width}}  {'size':>8}" + f"  {'perplexity':>10} {'KL':>9} {'top-1':>8}  " * 2,
    ]
    for number, result in enumerate(results):
        cells = "".join(f"  {_cells(one, number == 0)}  " for one in (result.everything, result.answers))
        lines.append(f"{result.name:<{width}}  {result.size_bytes / 1e6:>5.1f} MB{cells}".rstrip())
    lines[1] = lines[1].rstrip()
    first = results[0]
    lines.append(f"over {first.everything.tokens} tokens, {first.answers.tokens} of them in answers")
    return "\n".join(lines)


def as_json(results: Sequence[Compared]) -> str:
    """One line of JSON with the same figures."""
    return json.dumps([asdict(result) for result in results])


def _cells(distance: Distance, is_parent: bool) -> str:
    if is_parent:
        return f"{distance.perplexity:>10.4f} {'-':>9} {'-':>8}"
    return f"{distance.perplexity:>10.4f} {distance.kl:>9.6f} {distance.agreement:>8.2%}"


class _Sums:
    """Of one model: by token, its surprise, its divergence and whether it agrees."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.float64]] = []  # (T, 4), the last: part of an answer

    def distance(self, answers_only: bool) -> Distance:
        values = np.concatenate(self.parts)
        if answers_only:
            values = values[values[:, 3] > 0]
        if not len(values):
            return Distance(0, float("nan"), float("nan"), float("nan"))
        surprise, kl, agreement, _ = values.mean(0)
        return Distance(len(values), float(np.exp(surprise)), float(kl), float(agreement))


def _add_row(sums: Sequence[_Sums], logits: Sequence[NDArray[Any]], row: Row) -> None:
    for start in range(0, len(row.ids) - 1, _POSITIONS):
        stop = min(start + _POSITIONS, len(row.ids) - 1)
        next_ids = np.array(row.ids[start + 1 : stop + 1])
        in_answer = np.array(row.answers[start + 1 : stop + 1], np.float64)
        expected = log_probabilities(logits[0][start:stop])
        for one, own in zip(sums, logits, strict=True):
            found = expected if own is logits[0] else log_probabilities(own[start:stop])
            surprise = -found[np.arange(stop - start), next_ids]
            agrees = (found.argmax(-1) == expected.argmax(-1)).astype(np.float64)
            one.parts.append(np.stack([surprise, divergence(expected, found), agrees, in_answer], axis=1))


def _compared(folder: Path, sums: _Sums) -> Compared:
    manifest = load_manifest(folder)
    size = sum(entry.size for name, entry in manifest.files.items() if is_weights(name))
    return Compared(manifest.id, size, sums.distance(False), sums.distance(True))


def _runner(folder: Path, threads: int) -> Runner:
    return Runner(with_all_positions(read_graph(folder)), folder, threads)
