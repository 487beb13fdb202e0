"""How soon the second turn of a long conversation answers, as a share of reading it cold.

The first turn has about 1,000 tokens; the second adds its answer and a short question. What was read for
the first turn is still in the KV cache, so only the rest is prefilled. Every round begins with other words,
so that its first turn is cold.

    python tests/bench/bench_second_turn.py [--device wasm|webgpu|server] [--rounds 6]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "browser")]

from find_browser import find
from localphi.config import Settings, available_threads
from serving import LiveServer, serving

TEXT = "Tell me everything about localphi and the world around it. " * 68
TOKENS = 8
Messages = list[dict[str, str]]
Answered = tuple[float, int, int, str]  # TTFT in ms, prompt tokens, cached tokens, text


@contextmanager
def in_browser(server: LiveServer, device: str) -> Iterator[Callable[[Messages], Answered]]:
    """Asks the page's worker."""
    path = find()
    if path is None:
        raise SystemExit("no browser: run `make browser`")
    with sync_playwright() as playwright:
        flags = ["--headless=new", "--no-sandbox", "--enable-unsafe-webgpu"]
        page = playwright.chromium.launch(executable_path=str(path), args=flags).new_page()
        page.goto(f"{server.url}/?device={device}&debug=1")
        page.locator("[data-state=ready]").wait_for(state="attached", timeout=120_000)

        def ask(messages: Messages) -> Answered:
            got: dict[str, Any] = page.evaluate(
                "([messages, limit]) => window.localphiDebug.generateIds(messages, limit)",
                [messages, TOKENS],
            )
            if got["device"] != device:
                raise SystemExit(f"wanted {device}, but it ran on {got['device']}")
            return got["firstTokenMs"], len(got["promptIds"]), got["cachedTokens"], got["text"]

        yield ask


@contextmanager
def over_http(server: LiveServer) -> Iterator[Callable[[Messages], Answered]]:
    """Asks the server route."""
    with httpx.Client(timeout=120, trust_env=False) as client:

        def ask(messages: Messages) -> Answered:
            body = {"messages": messages, "max_tokens": TOKENS, "temperature": 0, "stream": True}
            body["stream_options"] = {"include_usage": True}
            start, first_ms, text = time.perf_counter(), 0.0, ""
            usage: dict[str, Any] = {}
            with client.stream("POST", server.url + "/v1/chat/completions", json=body) as response:
                for line in response.iter_lines():
                    if not line.startswith("data: {"):
                        continue
                    chunk = json.loads(line.removeprefix("data: "))
                    usage = chunk.get("usage") or usage
                    for choice in chunk["choices"]:
                        piece = choice["delta"].get("content") or ""
                        first_ms = first_ms or (time.perf_counter() - start) * 1000 * bool(piece)
                        text += piece
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            return first_ms, usage["prompt_tokens"], cached, text

        yield ask


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("wasm", "webgpu", "server"), default="wasm")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as home, serving(Settings(home=Path(home))) as server:
        way = over_http(server) if options.device == "server" else in_browser(server, options.device)
        with way as ask:
            for number in range(options.rounds + 1):
                turns = [{"role": "user", "content": f"{number * 7919} times: {TEXT}"}]
                one = ask(turns)
                turns += [
                    {"role": "assistant", "content": one[3]},
                    {"role": "user", "content": "And offline?"},
                ]
                two = ask(turns)
                if number:  # the first round warms up
                    cold.append(one)
                    warm.append(two)
    report(options.device, cold, warm)


def report(device: str, cold: list[Answered], warm: list[Answered]) -> None:
    cold_ms, warm_ms = (statistics.median(each[0] for each in turns) for turns in (cold, warm))
    print(f"{'':<14}{'prompt':>8}{'cached':>8}{'TTFT ms':>10}   medians, {device}")
    for name, turns, ms in (("first turn", cold, cold_ms), ("second turn", warm, warm_ms)):
        prompt = statistics.median(each[1] for each in turns)
        cached = statistics.median(each[2] for each in turns)
        print(f"{name:<14}{prompt:>8.0f}{cached:>8.0f}{ms:>10.1f}")
    print(f"second turn: {warm_ms / cold_ms:.3f} of the first")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    versions = {name: version(name) for name in ("onnxruntime-genai", "playwright")}
    figures = {"cold_ms": round(cold_ms, 1), "warm_ms": round(warm_ms, 1)}
    print(json.dumps({"bench": "second turn", "device": device, **figures, **machine, **versions}))


if __name__ == "__main__":
    main()
