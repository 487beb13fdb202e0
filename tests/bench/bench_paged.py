"""The graph with the paged cache against the other graph of a model: prefill, decode, many at once.

Both run in this process, by turns, on the same weights with the same threads: og.Generator on the graph with
GroupQueryAttention, og.Engine on the paged one. Only the ratios mean something on a machine with other work.

    python tests/bench/bench_paged.py [--model FOLDER] [--contexts 128,1024,1900] [--at-once 2,4,8] …

A ratio above 1 says that the paged graph is faster. "n at once": tokens per second of all together, against
one stream of the paged graph.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from localphi.config import available_threads, disable_telemetry
from localphi.models.manifest import PagedGraph, load_manifest
from localphi.models.paged import threads_overlay
from localphi.models.store import BUNDLED_DIR
from localphi.toolchain.graphs.paged_answer import PagedEngine

SCHEDULED = 512


class Other:
    """The graph with GroupQueryAttention."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime_genai as og

        self._og: Any = og
        config: Any = og.Config(str(folder))
        config.overlay(threads_overlay(available_threads()))
        self._model = og.Model(config)

    def measure(self, prompts: list[list[int]], tokens: int) -> tuple[float, float]:
        """Seconds to the first token and tokens per second after it, of the one prompt."""
        (prompt,) = prompts
        params = self._og.GeneratorParams(self._model)
        most = len(prompt) + tokens + 1
        params.set_search_options(do_sample=False, max_length=most, min_length=most)
        start = time.perf_counter()
        generator = self._og.Generator(self._model, params)
        generator.append_tokens(prompt)
        generator.generate_next_token()
        first = time.perf_counter()
        for _ in range(tokens):
            generator.generate_next_token()
        return first - start, tokens / (time.perf_counter() - first)


class Paged:
    """The paged graph, in one engine for everything that is measured."""

    def __init__(self, folder: Path, paged: PagedGraph, most_tokens: int, at_once: int) -> None:
        blocks = at_once * (-(-most_tokens // paged.block_tokens) + 1)
        sizes = {"num_blocks": blocks, "max_batch_size": at_once, "max_scheduled_tokens": SCHEDULED}
        self._engine = PagedEngine(folder, paged, threads=available_threads(), **sizes)

    def measure(self, prompts: list[list[int]], tokens: int) -> tuple[float, float]:
        """Seconds until all have a token, and tokens per second of all together after that."""
        engine, start = self._engine, time.perf_counter()
        # Those that are read first answer while the others are read; all must go on until the last is done.
        most = tokens + 2 + sum(map(len, prompts)) // SCHEDULED + len(prompts)
        begun = [engine.begin(prompt, most, most) for prompt in prompts]
        answers = [engine.answers[number] for number in begun]
        while not all(answers):
            engine.step()
        first, had = time.perf_counter(), sum(map(len, answers))
        for _ in range(tokens):
            engine.step()
        seconds = time.perf_counter() - first
        got = sum(map(len, answers)) - had
        while engine.busy:
            engine.step()
        return first - start, got / seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=BUNDLED_DIR / "localphi-demo")
    parser.add_argument("--contexts", default="128,1024,1900")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--at-once", default="2,4,8", help="how many; 1 for one stream alone")
    options = parser.parse_args()
    disable_telemetry()
    variant = load_manifest(options.model).variants["server-cpu"]
    if variant.paged is None:
        raise SystemExit(f"{options.model} has no paged graph: python -m localphi.toolchain.graphs paged")
    contexts = [int(text) for text in options.contexts.split(",")]
    at_once = sorted({1, *(int(text) for text in options.at_once.split(","))})
    spare = 2 * options.tokens + max(contexts) * at_once[-1] // SCHEDULED + 16
    other = Other(options.model)
    paged = Paged(options.model, variant.paged, max(contexts) + spare, at_once[-1])
    vocabulary = _vocabulary(options.model)
    random = np.random.default_rng(0)

    def prompts(count: int, length: int) -> list[list[int]]:
        return [random.integers(0, vocabulary, length).tolist() for _ in range(count)]

    other.measure(prompts(1, 64), 4)
    paged.measure(prompts(1, 64), 4)
    rows = []
    for context in contexts:
        rounds: dict[str, list[tuple[float, float]]] = {"other": [], **{str(n): [] for n in at_once}}
        for _ in range(options.rounds):
            rounds["other"].append(other.measure(prompts(1, context), options.tokens))
            for count in at_once:
                rounds[str(count)].append(paged.measure(prompts(count, context), options.tokens))
        rows.append(_row(context, rounds, at_once[1:]))
        print(_text(rows[-1]), flush=True)
    report(options.model, rows)


def _vocabulary(folder: Path) -> int:
    config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
    return int(config["model"]["vocab_size"])


def _row(
    context: int, rounds: dict[str, list[tuple[float, float]]], at_once: Sequence[int]
) -> dict[str, float]:
    """Medians; ratios are medians of the ratios within a round."""

    def ratio(one: str, two: str, which: int) -> float:
        pairs = zip(rounds[one], rounds[two], strict=True)
        return round(statistics.median(a[which] / b[which] for a, b in pairs), 3)

    row: dict[str, float] = {"context": context}
    for name, label in (("other", "other"), ("1", "paged")):
        row[f"{label}_ttft_ms"] = round(1000 * statistics.median(each[0] for each in rounds[name]), 1)
        row[f"{label}_per_s"] = round(statistics.median(each[1] for each in rounds[name]), 1)
    row |= {"prefill": ratio("other", "1", 0), "decode": ratio("1", "other", 1)}
    return row | {f"at_once_{count}": ratio(str(count), "1", 1) for count in at_once}


def _text(row: dict[str, float]) -> str:
    together = "  ".join(
        f"{name.removeprefix('at_once_')} at once {value:.2f}x"
        for name, value in row.items()
        if name.startswith("at_once_")
    )
    return (
        f"{row['context']:>6}  TTFT {row['other_ttft_ms']:>8.1f} {row['paged_ttft_ms']:>8.1f} ms "
        f"{row['prefill']:.2f}x  decode {row['other_per_s']:>7.1f} {row['paged_per_s']:>7.1f} /s "
        f"{row['decode']:.2f}x  {together}"
    )


def report(folder: Path, rows: list[dict[str, float]]) -> None:
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    versions = {name: version(name) for name in ("onnxruntime-genai", "onnxruntime")}
    print(json.dumps({"bench": "paged", "model": folder.name, "rows": rows, **machine, **versions}))


if __name__ == "__main__":
    main()
