"""What guesses at the next tokens gain in the generator backend, on a graph with the logits of all positions.

The same model with guesses and without, in turn; answers to a prompt that repeats itself and to one that does
not, greedily. A graph that prunes its logits, as `build` makes them, is rewritten in a copy first.

python tests/bench/bench_drafts.py [--model FOLDER] [--tokens 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localphi.chat import ChatRequest, Chunk, RawPrompt
from localphi.config import available_threads
from localphi.engine.drafts import Drafts
from localphi.engine.generator import GeneratorBackend
from localphi.models.manifest import load_manifest
from logits_graph import with_all_logits
from serving import DEMO


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEMO, help="a model folder with model.onnx")
    parser.add_argument("--tokens", type=int, default=200, help="of each answer")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    random.seed(0)
    six = [random.randrange(10, 1000) for _ in range(6)]
    prompts = {"repeats": six * 20, "does not": [random.randrange(10, 1000) for _ in range(120)]}
    with copy_of(options.model) as folder:
        backend = GeneratorBackend(folder, load_manifest(folder), available_threads(), 1, 1 << 30)
        seconds: dict[tuple[str, bool], list[float]] = {}
        steps: dict[tuple[str, bool], int] = {}
        for number in range(options.rounds + 1):
            for name, prompt in prompts.items():
                for guessing in (False, True):
                    took_s, count = measure(backend, prompt, options.tokens, guessing)
                    if number:
                        seconds.setdefault((name, guessing), []).append(took_s)
                        steps[name, guessing] = count
    print(f"{'a prompt that':<15}{'steps':>7}{'without':>9}{'gain':>7}")
    gains = {}
    for name in prompts:
        gains[name] = statistics.median(seconds[name, False]) / statistics.median(seconds[name, True])
        print(f"{name:<15}{steps[name, True]:>7}{steps[name, False]:>9}{gains[name]:>7.2f}")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    rounded = {name: round(gain, 2) for name, gain in gains.items()}
    print(json.dumps({"bench": "drafts", "model": options.model.name, "gain": rounded, **machine}))


@contextmanager
def copy_of(model: Path) -> Iterator[Path]:
    """With the logits of every position. The weights are links."""
    with tempfile.TemporaryDirectory(dir=model.parent) as name:
        folder = Path(name) / model.name
        folder.mkdir()
        for path in model.iterdir():
            if path.is_file():
                os.link(path, folder / path.name)
        graph = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").write_bytes(graph)
        with_all_logits(folder / "model.onnx")
        yield folder


def measure(backend: GeneratorBackend, prompt: list[int], tokens: int, guessing: bool) -> tuple[float, int]:
    """Seconds and steps from the first token to the last."""
    backend._caches.forget()
    guess = Drafts.guess
    if not guessing:
        Drafts.guess = lambda self, most: []  # type: ignore[method-assign]
    try:
        backend.submit(0, ChatRequest(RawPrompt(tuple(prompt)), max_tokens=tokens))
        start, steps = 0.0, 0
        while backend.busy:
            told = [event for _, event in backend.step() if isinstance(event, Chunk)]
            steps += bool(start)
            start = start or (time.perf_counter() if told else 0.0)
        return time.perf_counter() - start, steps
    finally:
        Drafts.guess = guess  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
