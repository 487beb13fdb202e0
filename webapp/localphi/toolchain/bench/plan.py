"""What is asked: cells of the tables, and prompts of token ids.

Prompts are ids, so that their lengths are exact, and every prompt is new, so that no cache holds a part of it
unless a part is meant to be shared. Ids mean nothing here; the model reads noise as fast as it reads sense.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Part = Literal["lengths", "streams", "prefix", "http"]
PARTS: tuple[Part, ...] = get_args(Part)

IDS = range(300, 2000)  # no bytes and no control tokens in the vocabularies of any Phi, or of the demo
PREFIX_TOKENS = 480
OWN_TOKENS = 32  # of a prompt behind the shared part
PREFIX_ANSWER = 8
STREAM_PROMPT = 32


@dataclass(frozen=True)
class Lengths:
    """One answer of the longest length; it tells the shorter ones too."""

    prompt: int
    generate: int


@dataclass(frozen=True)
class Streams:
    """So many answers at the same time."""

    streams: int
    generate: int
    prompt: int = STREAM_PROMPT


@dataclass(frozen=True)
class Prefix:
    """A prompt, and three that begin with the same tokens."""

    shared: int = PREFIX_TOKENS
    own: int = OWN_TOKENS
    others: int = 3
    generate: int = PREFIX_ANSWER


@dataclass(frozen=True)
class Http:
    """The same answer by the engine client and over HTTP."""

    generate: int
    prompt: int = STREAM_PROMPT


Cell = Lengths | Streams | Prefix | Http


@dataclass(frozen=True)
class Plan:
    """generate: the lengths told of each answer. rounds: how often everything is asked, in turn."""

    parts: tuple[Part, ...] = PARTS
    prompts: tuple[int, ...] = (16, 32, 64, 512, 2048)
    generate: tuple[int, ...] = (16, 64, 256)
    streams: tuple[int, ...] = (1, 2, 4, 8, 16)
    stream_tokens: int = 64
    rounds: int = 3

    def cells(self) -> list[Cell]:
        """In the order of the tables."""
        longest = max(self.generate)
        made: dict[Part, list[Cell]] = {
            "lengths": [Lengths(prompt, longest) for prompt in self.prompts],
            "streams": [Streams(streams, self.stream_tokens) for streams in self.streams],
            "prefix": [Prefix()],
            "http": [Http(longest)],
        }
        return [cell for part in PARTS if part in self.parts for cell in made[part]]


QUICK = Plan(prompts=(16, 512), generate=(16, 64), streams=(1, 4, 8), stream_tokens=32, rounds=2)
PHI3_POST = Plan(("lengths",), (16, 32, 64), (256, 512, 1024, 2048), rounds=1)
"""The table of ONNX Runtime's post on Phi-3: average speed of the first so many tokens."""


def work(cell: Cell) -> int:
    """Roughly what a cell costs, for a progress bar: reading four tokens costs as much as writing one."""
    match cell:
        case Lengths(prompt, generate) | Http(generate, prompt):
            return prompt // 4 + generate
        case Streams(streams, generate, prompt):
            return streams * (prompt // 4 + generate)
        case Prefix(shared, own, others, generate):
            return (shared + own) // 4 + others * (own + generate)


class Prompts:
    """Prompts that begin like none before. seed: the same seed asks the same."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def new(self, length: int) -> tuple[int, ...]:
        return tuple(self._random.choices(IDS, k=length))

    def alike(self, shared: int, own: int) -> Iterator[tuple[int, ...]]:
        """Prompts with the same first `shared` tokens, without end."""
        beginning = self.new(shared)
        while True:
            yield beginning + self.new(own)
