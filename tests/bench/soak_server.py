"""Whether the server keeps anything of crowds that come and go, and whether it stays quick for others.

echo, demo   requests of many clients, of which 10 % leave in the middle, some with a reset; each of the
             others must be answered (a 429 is tried again). What the server's process holds before and
             after: processes, zombies, threads, open files, memory of the process and its workers.
silent       /healthz while 64 streams are open and silent, their worker being stopped
prefill      /healthz while the demo reads long prompts, with 64 asked at once

python tests/bench/soak_server.py [--requests 10000] [--demo-requests 500]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localphi.config import available_threads
from serving import ROOT
from soaking import Kept, OpenStreams, health_times_s, soak

CLIENTS = 32
STREAMS = 64
_SERVE = """
import sys
from pathlib import Path
from localphi.config import Settings
from localphi.server import serve
home, backend, places = sys.argv[1:]
settings = Settings(home=Path(home), port=0, backend=backend, max_requests=int(places))
serve(settings, lambda url: print(url, flush=True))
"""


@contextmanager
def server(backend: str) -> Iterator[tuple[str, int]]:
    """Address and process id of a server of its own."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", _SERVE, home, backend, str(STREAMS + 8)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT / "webapp", stdin=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().replace("localhost", "127.0.0.1")
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def echo_body(chance: random.Random) -> dict[str, Any]:
    return {"messages": _messages("word " * chance.randint(1, 200))}


def demo_body(chance: random.Random) -> dict[str, Any]:
    number = chance.randint(1, 1000)
    return {"messages": _messages(f"{number} What is localphi? " * chance.randint(1, 20)), "max_tokens": 16}


def soaked(backend: str, requests: int) -> dict[str, Any]:
    make_body = echo_body if backend == "echo" else demo_body
    with server(backend) as (url, pid):
        soak(url, 200, CLIENTS, make_body)  # what is made once is made now
        settle(url)
        before = Kept.by(pid)
        start = time.perf_counter()
        ends = soak(url, requests, CLIENTS, make_body)
        took_s = time.perf_counter() - start
        settle(url)
        after = Kept.by(pid)
    return {
        "requests": requests,
        "ends": dict(ends),
        "requests_per_s": round(requests / took_s, 1),
        "before": asdict(before),
        "after": asdict(after),
    }


def settle(url: str) -> None:
    """Until nobody is served, and connections that were left are closed."""
    while any(e["active"] + e["waiting"] for e in httpx.get(url + "/engines").json()["engines"]):
        time.sleep(0.1)
    time.sleep(2)


def health(stopped: bool, seconds: float) -> dict[str, float]:
    """Milliseconds of /healthz with 64 streams open."""
    with server("echo" if stopped else "auto") as (url, pid):
        httpx.post(
            url + "/v1/chat/completions", json={"messages": _messages("hi"), "max_tokens": 1}, timeout=60
        )
        words = "word " * 1000 if stopped else "7" * 1900
        streams = OpenStreams(url, ({"messages": _messages(f"{n} {words}")} for n in range(STREAMS)))
        workers = [
            child for child in psutil.Process(pid).children() if "spawn_main" in " ".join(child.cmdline())
        ]
        try:
            streams.wait()
            for worker in workers if stopped else ():
                worker.suspend()
            times_ms = sorted(time_s * 1000 for time_s in health_times_s(url, seconds))
        finally:
            for worker in workers if stopped else ():
                worker.resume()
            streams.close()
    return {
        "requests": len(times_ms),
        "median_ms": round(statistics.median(times_ms), 1),
        "p99_ms": round(times_ms[int(len(times_ms) * 0.99)], 1),
        "worst_ms": round(times_ms[-1], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--demo-requests", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10, help="for each measurement of /healthz")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    print(f"{'soak':<6}{'':>9}{'processes':>10}{'zombies':>9}{'threads':>9}{'files':>7}{'MB':>8}")
    for backend, requests in (("echo", options.requests), ("auto", options.demo_requests)):
        name = "echo" if backend == "echo" else "demo"
        results[name] = result = soaked(backend, requests)
        for when in ("before", "after"):
            kept = Kept(**result[when])
            counts = f"{kept.processes:>10}{kept.zombies:>9}{kept.threads:>9}{kept.files:>7}"
            print(f"{name:<6}{when:>9}{counts}{kept.rss_bytes / 1e6:>8.1f}")
        print(f"       {requests} requests: {result['ends']}, {result['requests_per_s']} a second")
    print(f"{'/healthz':<10}{'median ms':>10}{'p99 ms':>8}{'worst ms':>10}")
    for name, stopped in (("silent", True), ("prefill", False)):
        results[name] = times = health(stopped, options.seconds)
        print(f"{name:<10}{times['median_ms']:>10}{times['p99_ms']:>8}{times['worst_ms']:>10}")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    print(json.dumps({"bench": "soak", "results": results, **machine, "waitress": version("waitress")}))


if __name__ == "__main__":
    main()
