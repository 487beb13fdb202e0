"""What it costs to choose a token here rather than in ORT GenAI.

Two tables: the sampler alone, in µs of CPU time a token, for vocabularies of the demo (2 k) and of Phi-4-mini
(200 k); and greedy decoding of the demo model, GenAI's own search beside ours (logits out, choice, token in).

    python tests/bench/bench_sampler.py [--rounds 8]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localphi.chat import Sampling
from localphi.config import available_threads, disable_telemetry
from localphi.engine.sampler import Logits, Sampler, log_probabilities
from serving import DEMO

disable_telemetry()

import onnxruntime_genai as og

VOCABULARIES = (2_048, 200_064)
WAYS = {
    "greedy": Sampling(),
    "temperature": Sampling(0.8, seed=1),
    "top_k 40, top_p 0.95": Sampling(0.8, 0.95, 40, seed=1),
    "top_p 0.95": Sampling(0.8, 0.95, seed=1),
    "min_p 0.05": Sampling(0.8, min_p=0.05, seed=1),
    "penalties, greedy": Sampling(repetition_penalty=1.1, frequency_penalty=0.5),
}
PROMPT = tuple(range(1000))
CALLS = 20
TOKENS = 200


def cost_us(work: Callable[[], object]) -> float:
    start = time.thread_time()
    for _ in range(CALLS):
        work()
    return (time.thread_time() - start) / CALLS * 1e6


def choose(sampler: Sampler, logits: Logits) -> int:
    return sampler.choose(sampler.adjusted(logits))


def works(logits: Logits) -> dict[str, Callable[[], object]]:
    table: dict[str, Callable[[], object]] = {}
    for name, sampling in WAYS.items():
        sampler = Sampler(sampling, PROMPT)
        for token in range(500):
            sampler.push(token)
        table[name] = partial(choose, sampler, logits)
    table["20 log probabilities"] = partial(log_probabilities, logits, 7, 20)
    return table


def sampler_costs(rounds: int) -> dict[str, dict[int, float]]:
    random = np.random.default_rng(1)
    ways = {size: works(random.standard_normal(size).astype(np.float32) * 3) for size in VOCABULARIES}
    return {
        name: {
            size: round(statistics.median(cost_us(ways[size][name]) for _ in range(rounds)), 1)
            for size in VOCABULARIES
        }
        for name in ways[VOCABULARIES[0]]
    }


def decode_speeds(rounds: int) -> dict[str, float]:
    """Tokens/s of a prompt of 100 tokens, medians; the ways take turns."""
    model = og.Model(str(DEMO))
    speeds: dict[str, list[float]] = {"genai": [], "ours": []}
    for _ in range(rounds):
        for name, ours in (("genai", False), ("ours", True)):
            params = og.GeneratorParams(model)
            params.set_search_options(max_length=100 + TOKENS + 1, do_sample=False)
            generator = og.Generator(model, params)
            generator.append_tokens(list(range(100)))
            sampler = Sampler(Sampling(), ())
            start = time.perf_counter()
            for _ in range(TOKENS):
                if ours:
                    generator.append_tokens([sampler.choose(generator.get_logits().reshape(-1))])
                else:
                    generator.generate_next_token()
                    generator.get_next_tokens()
            speeds[name].append(TOKENS / (time.perf_counter() - start))
    return {name: round(statistics.median(measured), 1) for name, measured in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    costs, speeds = sampler_costs(rounds), decode_speeds(rounds)
    print(f"{'way':<24}" + "".join(f"{f'V {size}, µs':>16}" for size in VOCABULARIES))
    for name, by_size in costs.items():
        print(f"{name:<24}" + "".join(f"{by_size[size]:>16.1f}" for size in VOCABULARIES))
    print(f"\n{'greedy decoding, demo':<24}{'tokens/s':>16}")
    for name, speed in speeds.items():
        print(f"{name:<24}{speed:>16.1f}")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    versions = {name: version(name) for name in ("onnxruntime-genai", "numpy")}
    print(json.dumps({"bench": "sampler", "us": costs, "tokens_per_s": speeds, **machine, **versions}))


if __name__ == "__main__":
    main()
