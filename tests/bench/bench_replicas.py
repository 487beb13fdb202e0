"""What a second replica brings: answers per second of one server pinned to a core, and of two on two.

python tests/bench/bench_replicas.py [--rounds 3] [--clients 16] [--prompt 100] [--generate 64] [--json F]

Both are localphi behind `--engine remote`, asked in turn, round by round; all prompts differ from their first
word, so that no cache helps. --json writes what tests/bench/simulate_scale.py reads: the rates of one replica
at 1, 2, 4 and 8 requests at a time, and the measured point of two.

On a machine that has other work, a replica gets only a part of its core. So rates are told in two ways: by
the clock, and by the seconds of CPU that the replicas got, which is what they would do with a core each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from localphi.chat import ChatRequest, Message
from localphi.config import Settings
from localphi.engine.client import Engine
from serving import serving

_MODEL = "localphi-demo"
_SATURATES = 4  # with so many clients it waits for nobody, and what it got of its core is what limits it
_WORDS = (
    *("browser", "model", "token", "server", "page", "device", "answer", "cache"),
    *("graph", "worker", "thread", "memory", "local", "phi"),
)


@dataclass(frozen=True)
class Server:
    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Of it and its worker, so far."""
        processes = [self.process, *self.process.children(recursive=True)]
        times = [process.cpu_times() for process in processes]
        return sum(time.user + time.system for time in times)


@contextmanager
def server(core: int) -> Iterator[Server]:
    """A localphi of its own, it and its worker on one core."""
    command = "from localphi.cli import main; main()"
    arguments = [
        sys.executable,
        "-c",
        command,
        "serve",
        "--port",
        "0",
        "--threads",
        "1",
        "--idle-unload",
        "0",
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        psutil.Process(process.pid).cpu_affinity([core])
        port = next(match[1] for line in process.stdout if (match := re.search(r"localhost:(\d+)", line)))
        yield Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


class Load:
    """Requests of one kind, all different. prompt: words of each; generate: tokens of each answer."""

    def __init__(self, prompt: int, generate: int) -> None:
        self._prompt, self._generate = prompt, generate
        self._numbers = itertools.count(1)

    def _request(self) -> ChatRequest:
        rng = random.Random(next(self._numbers))
        words = " ".join(rng.choice(_WORDS) for _ in range(self._prompt))
        return ChatRequest((Message("user", words),), max_tokens=self._generate, ignore_end=True)

    def rate(
        self, engine: Engine, servers: Sequence[Server], clients: int, seconds: float
    ) -> tuple[float, float]:
        """Answers per second of clients that ask again as soon as they are answered, after a second of it.

        With the part of their cores that the servers had.
        """
        begin_s = time.monotonic() + 1.0
        end_s = begin_s + seconds

        def client(_: int) -> int:
            done = 0
            while time.monotonic() < end_s:
                with engine.submit(self._request()) as answer:
                    for _item in answer:
                        pass
                done += begin_s <= time.monotonic() < end_s
            return done

        with ThreadPoolExecutor(clients + 1) as pool:
            share = pool.submit(_share, servers, begin_s, end_s)
            answers = sum(pool.map(client, range(clients)))
        return answers / seconds, share.result()


def _share(servers: Sequence[Server], begin_s: float, end_s: float) -> float:
    """The part of their cores that the servers had, in the mean."""
    time.sleep(max(0.0, begin_s - time.monotonic()))
    before = sum(each.cpu_s() for each in servers)
    began_s = time.monotonic()
    time.sleep(max(0.0, end_s - began_s))
    return (sum(each.cpu_s() for each in servers) - before) / (time.monotonic() - began_s) / len(servers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--prompt", type=int, default=100, help="words of a prompt")
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--json", type=Path, dest="target")
    args = parser.parse_args()
    load = Load(args.prompt, args.generate)
    cores = sorted(os.sched_getaffinity(0))[:2]
    curve: dict[int, list[float]] = {1: [], 2: [], 4: [], 8: []}
    rounds: list[tuple[float, float, float, float]] = []
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [stack.enter_context(server(core)) for core in cores]
        engines: list[Any] = []
        for behind in (servers[:1], servers[1:], servers):
            urls = tuple(each.url for each in behind)
            settings = Settings(home=home, engine="remote", upstreams=urls, max_requests=64)
            engines.append(stack.enter_context(serving(settings)).engines.get(_MODEL))
        for number in range(2):
            load.rate(engines[number], servers[number : number + 1], 2, 1.0)
        for number in range(args.rounds):
            at = number % 2
            alone = engines[at], servers[at : at + 1]
            one, had = load.rate(*alone, args.clients, args.seconds)
            for clients, rates in curve.items():
                rate, busy = load.rate(*alone, clients, args.seconds)
                rates.append(rate / (busy if clients >= _SATURATES else had))
            two, had_both = load.rate(engines[2], servers, args.clients, args.seconds)
            rounds.append((one, two, one / had, two / had_both))
            by_cpu = two / had_both / one * had
            print(
                f"round {number + 1}: one {one:.2f}/s with {had:.0%} of its core, two {two:.2f}/s with "
                f"{had_both:.0%} each; by the clock {two / one:.2f} x, by CPU {by_cpu:.2f} x",
                flush=True,
            )
    one, two, one_cpu, two_cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    told = {
        "prompt_words": args.prompt,
        "generate": args.generate,
        "rates": {clients: round(statistics.median(rates), 3) for clients, rates in curve.items()},
        "clients": args.clients,
        "by_clock": {"one": round(one, 3), "two": round(two, 3)},
        "one": round(one_cpu, 3),
        "two": round(two_cpu, 3),
        "ratio": round(statistics.median(two / one for _, _, one, two in rounds), 3),
    }
    print(json.dumps(told, indent=1))
    if args.target:
        args.target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
