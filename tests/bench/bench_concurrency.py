"""What several streams at once get from the server route: together, and each of them.

All streams of a round ask in the same moment, each something else, and get 128 tokens (`ignore_eos`). Then

    tokens/s     of all together, from when the last one has begun until the first one ends: while all decode
    TTFT         of the median and the slowest stream; whoever has to wait for a place waits in this figure

measured for both backends in one run, in turn, so that a busy machine slows them alike:

    engine       the engine client, in threads of this process
    http         POST /v1/chat/completions, streaming; the clients are threads of a process of their own

And for one stream: TTFT of a prompt whose first 480 tokens and more were asked before, against a cold one.

    python tests/bench/bench_concurrency.py [--rounds 5] [--streams 1 2 4 8 16]
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localphi.chat import ChatRequest, Chunk, Message
from localphi.config import DEMO_MODEL, BackendName, Settings, available_threads
from serving import LiveServer, serving

TOKENS = 128
ROUNDS, STREAMS = 5, (1, 2, 4, 8, 16)
BACKENDS: tuple[BackendName, ...] = ("paged", "generator")
PREFIX = "All of this was said before, and is said again. " * 40
NUMBERS = itertools.count(1)
Moments = list[float]  # of each piece, in seconds since the question


@dataclass(frozen=True)
class Round:
    """One burst of streams. speed: tokens/s of all together; TTFT in ms."""

    speed: float
    median_ms: float
    slowest_ms: float


def question() -> str:
    """Of some 40 tokens, and like no other from its first word on."""
    return f"{next(NUMBERS)} things about localphi that nobody has asked for, please, and in order."


def engine_stream(server: LiveServer, text: str, tokens: int = TOKENS) -> Moments:
    request = ChatRequest((Message("user", text),), max_tokens=tokens, ignore_end=True)
    start = time.perf_counter()
    with server.engines.get(DEMO_MODEL).submit(request) as answer:
        return [time.perf_counter() - start for item in answer if isinstance(item, Chunk)]


def http_stream(client: httpx.Client, url: str, text: str) -> Moments:
    body = {"messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": TOKENS}
    start = time.perf_counter()
    with client.stream("POST", url, json={**body, "ignore_eos": True}) as response:
        response.raise_for_status()
        lines = (line for line in response.iter_lines() if '"content":' in line and '"role"' not in line)
        return [time.perf_counter() - start for _ in lines]


def burst(streams: Sequence[Callable[[], Moments]]) -> list[Moments]:
    """All of them in the same moment. Raises what one of them raises."""
    gate = threading.Barrier(len(streams))
    results: list[Moments | BaseException] = [[] for _ in streams]

    def run(number: int, stream: Callable[[], Moments]) -> None:
        gate.wait()
        try:
            results[number] = stream()
        except BaseException as error:  # told to whoever waits for the thread
            results[number] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise failures[0]
    return [result for result in results if not isinstance(result, BaseException)]


def http_burst(address: str, texts: Sequence[str]) -> list[Moments]:
    """Runs in the clients' process."""
    url = address + "/v1/chat/completions"
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=0)
    with httpx.Client(timeout=300, trust_env=False, limits=limits) as client:
        return burst([_http(client, url, text) for text in texts])


def _http(client: httpx.Client, url: str, text: str) -> Callable[[], Moments]:
    return lambda: http_stream(client, url, text)


def _engine(server: LiveServer, text: str) -> Callable[[], Moments]:
    return lambda: engine_stream(server, text)


def summary(streams: Iterable[Moments]) -> Round:
    moments = [stream for stream in streams if len(stream) > 1]
    firsts = [stream[0] for stream in moments]
    begin, end = max(firsts), min(stream[-1] for stream in moments)
    if end <= begin:  # one was done before another had a place: over the whole time, then
        begin, end = min(firsts), max(stream[-1] for stream in moments)
    within = sum(begin < moment <= end for stream in moments for moment in stream)
    return Round(within / (end - begin), statistics.median(firsts) * 1000, max(firsts) * 1000)


def shared_prefix(server: LiveServer) -> tuple[float, float]:
    """TTFT in ms of a cold prompt, and of one that begins like it."""
    prefix = f"{next(NUMBERS)}. {PREFIX}"
    cold, warm = (engine_stream(server, prefix + ending, tokens=2)[0] for ending in ("Why?", "How, then?"))
    return cold * 1000, warm * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    asked = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clients = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        servers = {
            name: stack.enter_context(serving(Settings(home=home, backend=name, max_requests=64)))
            for name in BACKENDS
        }
        rounds: dict[tuple[str, str, int], list[Round]] = {}
        prefixes: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for number in range(asked.rounds + 1):  # the first one loads the models, and is not counted
            for name, server in servers.items():
                prefix = shared_prefix(server)
                measured = dict(bursts(server, clients, asked.streams))
                if number:
                    prefixes[name].append(prefix)
                    for (way, count), result in measured.items():
                        rounds.setdefault((name, way, count), []).append(result)
        report(rounds, prefixes)


def bursts(
    server: LiveServer, clients: ProcessPoolExecutor, counts: Iterable[int]
) -> Iterable[tuple[tuple[str, int], Round]]:
    for count in counts:
        texts = [question() for _ in range(count)]
        yield ("engine", count), summary(burst([_engine(server, text) for text in texts]))
        texts = [question() for _ in range(count)]
        yield ("http", count), summary(clients.submit(http_burst, server.url, texts).result())


def report(
    rounds: dict[tuple[str, str, int], list[Round]], prefixes: dict[str, list[tuple[float, float]]]
) -> None:
    heads = ("streams", "tokens/s", "× 1", "TTFT ms", "slowest", "÷ median")
    print(f"{'backend, way':<20}" + "".join(f"{head:>10}" for head in heads) + "   medians of rounds")
    rows: dict[str, dict[str, float]] = {}
    alone: dict[tuple[str, str], float] = {}
    for (name, way, count), measured in sorted(rounds.items(), key=lambda item: item[0]):
        speed = statistics.median(each.speed for each in measured)
        median_ms = statistics.median(each.median_ms for each in measured)
        slowest_ms = statistics.median(each.slowest_ms for each in measured)
        ratio = statistics.median(each.slowest_ms / each.median_ms for each in measured)
        alone.setdefault((name, way), speed)
        times = speed / alone[name, way]
        print(
            f"{name + ', ' + way:<20}{count:>10}{speed:>10.0f}{times:>10.2f}{median_ms:>10.1f}"
            f"{slowest_ms:>10.1f}{ratio:>10.2f}"
        )
        rows[f"{name}/{way}/{count}"] = {
            "tokens_per_s": round(speed, 1),
            "ttft_ms": round(median_ms, 1),
            "slowest_ttft_ms": round(slowest_ms, 1),
        }
    shared: dict[str, dict[str, float]] = {}
    for name, pairs in prefixes.items():
        cold, warm = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(after / before for before, after in pairs)
        print(f"{name}: a prefix asked before: TTFT {warm:.1f} ms, cold {cold:.1f} ms, ratio {ratio:.3f}")
        shared[name] = {"cold_ms": round(cold, 1), "warm_ms": round(warm, 1), "ratio": round(ratio, 3)}
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    versions = {name: version(name) for name in ("onnxruntime", "onnxruntime-genai", "waitress")}
    document = {"bench": "concurrency", "results": rows, "shared_prefix": shared, **machine, **versions}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
