"""Whether memory comes back when models are unloaded: what this process and its workers hold, round by round.

python tests/bench/bench_load_unload.py [--rounds 20] [--model id|folder]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localphi.chat import ChatRequest, Message
from localphi.config import DEMO_MODEL, Settings, available_threads
from localphi.engine.client import Engines
from localphi.models.store import ModelStore
from soaking import Kept


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--model", default=DEMO_MODEL)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        store = ModelStore(Path(home)).pin(options.model)
        engines = Engines(store, Settings(home=Path(home)))
        try:
            report(*measure(engines, store.default().id, options.rounds))
        finally:
            engines.close()


def measure(engines: Engines, model_id: str, rounds: int) -> tuple[list[int], list[int], list[float]]:
    """Bytes with the model loaded and after it was unloaded, and seconds to the first token, of each round.

    The first round is not counted: it imports what stays.
    """
    engine = engines.get(model_id)
    loaded, unloaded, seconds = [], [], []
    request = ChatRequest((Message("user", "What is localphi?"),), max_tokens=16)
    for _ in range(rounds + 1):
        start = time.perf_counter()
        with engine.submit(request) as answer:
            answer.next(600)
            seconds.append(time.perf_counter() - start)
            list(answer)
        loaded.append(Kept.by().rss_bytes)
        engine.unload()
        unloaded.append(Kept.by().rss_bytes)
    return loaded[1:], unloaded[1:], seconds[1:]


def report(loaded: list[int], unloaded: list[int], seconds: list[float]) -> None:
    print(f"{'round':<7}{'loaded MB':>11}{'unloaded MB':>13}{'to first token s':>18}")
    for number, (more, less, time_s) in enumerate(zip(loaded, unloaded, seconds, strict=True), 1):
        print(f"{number:<7}{more / 1e6:>11.1f}{less / 1e6:>13.1f}{time_s:>18.2f}")
    growth = unloaded[-1] / unloaded[0] - 1
    print(f"after {len(unloaded)} rounds: {growth:+.1%} of the start")
    machine = {"platform": platform.platform(terse=True), "cores": available_threads()}
    print(
        json.dumps({"bench": "load_unload", "rounds": len(unloaded), "growth": round(growth, 4), **machine})
    )


if __name__ == "__main__":
    main()
