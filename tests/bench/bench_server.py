"""How fast the server route is: time to first token, and tokens per second while decoding.

Prefill reads the whole prompt at once and is bound by arithmetic; decode makes one token after the other
and is bound by memory and by what is done around each token. TTFT is prefill and everything before it.

Compared side by side in one run, in turn, so that a busy machine slows all of them alike:

    engine   the engine client, without HTTP
    http     POST /v1/chat/completions, streaming
    again    the same question once more, of which only the answer must be computed
    1 thread as http, the model computing with one thread (GenAI's own default is half of the cores)

    python tests/bench/bench_server.py [--rounds 8]
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localphi.chat import ChatRequest, Chunk, Message, Sampling
from localphi.config import DEMO_MODEL, Settings, available_threads
from serving import LiveServer, serving

TOKENS = 128
PROMPT = "Tell me everything about localphi. " * 24
NUMBERS = itertools.count(1)
Times = Iterator[float]  # the moment of each piece, in seconds of one clock


def new_prompt() -> str:
    """One that begins like no other, so that nothing of it is computed already."""
    return f"{next(NUMBERS)}. {PROMPT}"


def by_engine(server: LiveServer) -> Times:
    sampling = Sampling(temperature=2.0, seed=1)  # greedy answers end too soon to be measured
    request = ChatRequest((Message("user", new_prompt()),), sampling, TOKENS)
    with server.engines.get(DEMO_MODEL).submit(request) as answer:
        for item in answer:
            if isinstance(item, Chunk):
                yield time.perf_counter()


def by_http(client: httpx.Client, server: LiveServer, prompt: str) -> Times:
    messages = [{"role": "user", "content": prompt}]
    body = {"messages": messages, "stream": True, "max_tokens": TOKENS, "temperature": 2, "seed": 1}
    with client.stream("POST", server.url + "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if '"content":' in line and '"role"' not in line:
                yield time.perf_counter()


def measure(answer: Callable[[], Times]) -> tuple[float, float]:
    """TTFT in ms, and tokens/s after the first token."""
    start = time.perf_counter()
    moments = list(answer())
    return (moments[0] - start) * 1000, (len(moments) - 1) / (moments[-1] - moments[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        all_cores = stack.enter_context(serving(Settings(home=home)))
        one_core = stack.enter_context(serving(Settings(home=home, threads=1)))
        client = stack.enter_context(httpx.Client(timeout=120, trust_env=False))
        ways: dict[str, Callable[[], Times]] = {
            "engine": lambda: by_engine(all_cores),
            "http": lambda: by_http(client, all_cores, new_prompt()),
            "http, again": lambda: by_http(client, all_cores, PROMPT),
            "http, 1 thread": lambda: by_http(client, one_core, new_prompt()),
        }
        for answer in ways.values():
            measure(answer)  # the first one loads the model
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, answer in ways.items():
                results[name].append(measure(answer))
    report(results)


def report(results: dict[str, list[tuple[float, float]]]) -> None:
    print(f"{'way':<16}{'TTFT ms':>10}{'tokens/s':>10}   medians")
    rows = {}
    for name, measured in results.items():
        ttft_ms, speed = (statistics.median(column) for column in zip(*measured, strict=True))
        rows[name] = {"ttft_ms": round(ttft_ms, 1), "tokens_per_s": round(speed, 1)}
        print(f"{name:<16}{ttft_ms:>10.1f}{speed:>10.1f}")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    versions = {name: version(name) for name in ("onnxruntime", "onnxruntime-genai", "waitress")}
    print(json.dumps({"bench": "server", "results": rows, **machine, **versions}))


if __name__ == "__main__":
    main()
