"""How many replicas so many users need: a simulation with measured rates.

python tests/bench/simulate_scale.py                    the measured points again, then users per replica
python tests/bench/simulate_scale.py --users 1000 --think 30 --replicas 4

A user thinks (exponentially, `--think` seconds in the mean), asks, waits for the answer, and thinks again. A
replica has up to 8 requests at work, which share what it does; the others wait in its line. How much it does
with so many at work was measured (tests/bench/replicas.json, by bench_replicas.py). A request goes to the
replica with the fewest. Requests are of the measured kind; their lengths vary by `--spread`.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parent / "replicas.json"
_AT_WORK = 8


@dataclass
class Replica:
    """left: work of each request at work, 1 for the mean length. line: those that wait, with theirs."""

    rates: Mapping[int, float]
    left: dict[int, float] = field(default_factory=dict)
    line: deque[tuple[int, float]] = field(default_factory=deque)
    at_s: float = 0.0
    version: int = 0

    @property
    def held(self) -> int:
        return len(self.left) + len(self.line)

    def rate(self) -> float:
        """Requests per second that it does for each of those at work."""
        return rate_at(self.rates, len(self.left)) / len(self.left) if self.left else 0.0

    def advance(self, now_s: float) -> None:
        done = self.rate() * (now_s - self.at_s)
        self.at_s = now_s
        self.left = {user: work - done for user, work in self.left.items()}

    def take(self, user: int, work: float) -> None:
        self.line.append((user, work))
        self._fill()

    def end(self, user: int) -> None:
        del self.left[user]
        self._fill()

    def next_end(self) -> tuple[float, int] | None:
        if not self.left:
            return None
        user = min(self.left, key=self.left.__getitem__)
        return self.at_s + max(0.0, self.left[user]) / self.rate(), user

    def _fill(self) -> None:
        while self.line and len(self.left) < _AT_WORK:
            user, work = self.line.popleft()
            self.left[user] = work


def rate_at(rates: Mapping[int, float], number: int) -> float:
    """Of so many at a time; straight lines between what was measured."""
    known = sorted(rates)
    if number <= known[0]:
        return rates[known[0]] * number / known[0]
    for low, high in itertools.pairwise(known):
        if number <= high:
            return rates[low] + (rates[high] - rates[low]) * (number - low) / (high - low)
    return rates[known[-1]]


@dataclass(frozen=True)
class Outcome:
    """per_second: answers. wait_s: from question to the end of its answer, median and 95 of 100."""

    per_second: float
    wait_s: float
    wait_95_s: float


def simulate(
    rates: Mapping[int, float],
    replicas: int,
    users: int,
    think_s: float,
    *,
    seconds: float,
    spread: float = 0.0,
) -> Outcome:
    """A closed system, from the second tenth of the time on."""
    rng = random.Random(1)
    all_replicas = [Replica(rates) for _ in range(replicas)]
    began: dict[int, float] = {}
    waits: list[float] = []
    events: list[tuple[float, int, int, int, int]] = []  # time, order, kind, who, version
    order = itertools.count()

    def think() -> float:
        return rng.expovariate(1 / think_s) if think_s else 0.0

    def expect(number: int) -> None:
        replica = all_replicas[number]
        replica.version += 1
        if (next_end := replica.next_end()) is not None:
            heapq.heappush(events, (next_end[0], next(order), 1, number, replica.version))

    for user in range(users):
        heapq.heappush(events, (think(), next(order), 0, user, 0))
    where: dict[int, int] = {}
    while events:
        now_s, _, kind, who, version = heapq.heappop(events)
        if now_s > seconds:
            break
        if kind == 0:
            number = min(range(replicas), key=lambda each: (all_replicas[each].held, rng.random()))
            where[who], began[who] = number, now_s
            all_replicas[number].advance(now_s)
            all_replicas[number].take(who, rng.lognormvariate(-(spread**2) / 2, spread))
            expect(number)
            continue
        replica = all_replicas[who]
        if version != replica.version:
            continue
        replica.advance(now_s)
        user = min(replica.left, key=replica.left.__getitem__)
        replica.end(user)
        expect(who)
        if now_s > seconds / 10:
            waits.append(now_s - began[user])
        heapq.heappush(events, (now_s + think(), next(order), 0, user, 0))
    waits.sort()
    if not waits:
        return Outcome(0.0, float("inf"), float("inf"))
    return Outcome(len(waits) / (0.9 * seconds), waits[len(waits) // 2], waits[int(len(waits) * 0.95)])


def measured(path: Path = MEASURED) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told | {"rates": {int(clients): rate for clients, rate in told["rates"].items()}}


def users_for(rates: Mapping[int, float], replicas: int, think_s: float, limit_s: float) -> int:
    """The most users of whom 95 of 100 are answered within the limit."""
    low, high = 1, 16
    while _holds(rates, replicas, high, think_s, limit_s):
        low, high = high, 2 * high
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(rates, replicas, middle, think_s, limit_s) else (low, middle)
    return low


def _holds(rates: Mapping[int, float], replicas: int, users: int, think_s: float, limit_s: float) -> bool:
    seconds = max(20 * think_s, 3000 / (replicas * max(rates.values())))
    return simulate(rates, replicas, users, think_s, seconds=seconds, spread=0.5).wait_95_s <= limit_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int)
    parser.add_argument("--think", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--spread", type=float, default=0.5)
    args = parser.parse_args()
    told = measured()
    rates = told["rates"]
    if args.users:
        out = simulate(
            rates, args.replicas, args.users, args.think, seconds=20 * args.think, spread=args.spread
        )
        print(
            f"{out.per_second:.2f} answers/s, {out.wait_s:.2f} s in the median, {out.wait_95_s:.2f} s at 95 %"
        )
        return
    for replicas, name in ((1, "one"), (2, "two")):
        out = simulate(rates, replicas, told["clients"], 0.0, seconds=600)
        off = out.per_second / told[name] - 1
        print(f"{name}: measured {told[name]:.2f}/s, simulated {out.per_second:.2f}/s ({off:+.0%})")
    alone_s = 1 / rates[1]
    print(f"users, of whom 95 % are answered in {4 * alone_s:.1f} s (4 x one alone), think 30 s")
    for replicas in (1, 2, 4, 8, 16):
        users = users_for(rates, replicas, 30.0, 4 * alone_s)
        print(f"{replicas:3} replicas: {users} users, {users / replicas:.0f} each")


if __name__ == "__main__":
    main()
