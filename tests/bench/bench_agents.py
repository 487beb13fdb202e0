"""How long an event loop stands still while agents in it are answered: by a server, and in this process.

python tests/bench/bench_agents.py [--rounds 3] [--tokens 200]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semantic_kernel.contents import AuthorRole, ChatHistory, ChatMessageContent

from localphi.config import Settings, available_threads
from localphi_agents.client import LocalphiClient
from localphi_agents.in_process import InProcessClient
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings

Clients = dict[str, LocalphiClient | None]
Row = tuple[str, int, list[float], float]

_TICK_S = 0.001


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=200, help="of each answer")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as home,
        server(Path(home)) as url,
        InProcessClient(settings=Settings(home=Path(home))) as own,
    ):
        clients: Clients = {"idle loop": None, "server": LocalphiClient(url), "in process": own}
        collections = FullCollections()
        rows = asyncio.run(measure(clients, options.rounds, options.tokens))
    print(f"{'':<12}{'agents':>8}{'gap p50 ms':>12}{'p99':>8}{'longest':>9}{'tokens/s':>10}")
    for name, agents, gaps, rate in rows:
        gaps.sort()
        p50, p99 = (gaps[int(share * (len(gaps) - 1))] * 1e3 for share in (0.5, 0.99))
        print(f"{name:<12}{agents:>8}{p50:>12.1f}{p99:>8.1f}{gaps[-1] * 1e3:>9.1f}{rate:>10.0f}")
    print(f"Python's own full garbage collections meanwhile, in ms: {collections.took_ms or 'none'}")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    longest = {f"{name} {agents}": round(max(gaps) * 1e3, 1) for name, agents, gaps, _ in rows}
    print(json.dumps({"bench": "agents", "longest_gap_ms": longest, **machine}))


@contextmanager
def server(home: Path) -> Iterator[str]:
    """In a process of its own, as agents find it."""
    command = [sys.executable, "-c", "from localphi.cli import main; main()", "serve", "--port", "0"]
    environment = dict(os.environ) | {"LOCALPHI_HOME": str(home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            told = next(line for line in process.stdout if "http://" in line)
            yield "http://" + told.split("http://")[1].split()[0]
        finally:
            process.terminate()


async def measure(clients: Clients, rounds: int, tokens: int) -> list[Row]:
    """In turn, after one answer that is not counted."""
    gaps: dict[tuple[str, int], list[float]] = {}
    rates: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 1):
        for name, client in clients.items():
            for agents in (1, 8):
                ticker = Ticker()
                start = time.perf_counter()
                done = await asyncio.gather(*(answer(client, tokens) for _ in range(agents)))
                took_s = time.perf_counter() - start
                found = await ticker.stop()
                if number:
                    gaps.setdefault((name, agents), []).extend(found)
                    rates.setdefault((name, agents), []).append(sum(done) / took_s)
    return [(*key, found, max(rates[key])) for key, found in gaps.items()]


async def answer(client: LocalphiClient | None, tokens: int) -> int:
    if client is None:
        await asyncio.sleep(0.5)
        return 0
    history = ChatHistory(messages=[ChatMessageContent(role=AuthorRole.USER, content="What is ONNX?")])
    settings = PhiPromptExecutionSettings(temperature=0, max_tokens=tokens)
    settings.extension_data["ignore_eos"] = True
    service = PhiChatCompletion(client=client)
    async for _ in service.get_streaming_chat_message_contents(history, settings):
        pass
    return tokens


class FullCollections:
    """How long each took. They stop every thread, and so any loop, and have nothing to do with answers."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []
        self._start = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._start = time.perf_counter()
        elif info["generation"] == 2:
            self.took_ms.append(round((time.perf_counter() - self._start) * 1e3, 1))


class Ticker:
    """Looks at the clock every millisecond, as long as the loop lets it."""

    def __init__(self) -> None:
        self._gaps: list[float] = []
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.perf_counter()
            self._gaps.append(now - before)
            before = now

    async def stop(self) -> list[float]:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self._gaps


if __name__ == "__main__":
    main()
