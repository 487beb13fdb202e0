"""The rows of tokens of each training step, and the text that the vocabulary is learnt from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from localphi.toolchain.demo.corpus import Corpus
from localphi.toolchain.demo.settings import ASSISTANT, END, END_OF_TEXT, PLAN, USER, Plan, Turn
from localphi.toolchain.demo.tokenizer import control_ids

_TOOL_SHARE = 0.64  # of the conversations in rows of skills; the others are in JSON mode


@dataclass(frozen=True)
class Row:
    """`ids` of one row, how much each of them counts in the loss, and the questions asked in it."""

    ids: list[int]
    weights: list[float]
    questions: tuple[str, ...]


class Rows:
    """The rows of each training step. A step always gives the same rows, so that a run can be resumed."""

    def __init__(self, corpus: Corpus, tokenizer: Any, plan: Plan = PLAN) -> None:
        self._corpus = corpus
        self._plan = plan
        self._ids = control_ids()
        self._help_weights = {ASSISTANT: 1.0, USER: plan.question_weight}
        self._skill_weights = {ASSISTANT: 1.0, USER: plan.request_weight}

        @lru_cache(maxsize=4096)
        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

        self._encode = encode

    def step(self, number: int) -> list[list[Row]]:
        """Groups of rows of equal length. Every `long_every`-th step has long rows, for far positions."""
        rng = random.Random(f"{self._plan.seed}/{number}")
        plan = self._plan
        if number % plan.long_every == plan.long_every - 1:
            return [
                [self._help_row(rng, plan.long_row_tokens, 0.0) for _ in range(plan.times)],
                [self._skill_row(rng, plan.long_row_tokens, 8) for _ in range(plan.times)],
            ]
        cut_share = plan.cut_share if number >= plan.late_from else 0.0
        early = number < plan.early_until * plan.steps
        skills = plan.times * (plan.early_rows if early else plan.skill_rows)
        helps = plan.times * plan.help_rows
        length = plan.early_row_tokens if early else plan.skill_row_tokens
        return [
            [self._help_row(rng, plan.help_row_tokens, cut_share) for _ in range(helps)],
            [self._skill_row(rng, length, self._most_tools(number)) for _ in range(skills)],
        ]

    def _most_tools(self, number: int) -> int:
        """Few tools first: copying is learnt before choosing."""
        done = number / self._plan.steps
        return next((most for until, most in self._plan.most_tools if done < until), 8)

    def _help_row(self, rng: random.Random, length: int, cut_share: float) -> Row:
        row = _Growing()
        while len(row.ids) < length:
            cut = rng.random() < cut_share
            most_tokens = self._plan.cut_tokens if cut else None
            self._add(row, self._corpus.help(rng, 1 if cut else 4), self._help_weights, most_tokens)
        return row.cut(length)

    def _skill_row(self, rng: random.Random, length: int, most_tools: int) -> Row:
        row = _Growing()
        while len(row.ids) < length:
            with_tools = rng.random() < _TOOL_SHARE
            turns = self._corpus.tools(rng, most_tools) if with_tools else self._corpus.json(rng)
            self._add(row, turns, self._skill_weights)
        return row.cut(length)

    def _add(
        self, row: _Growing, turns: list[Turn], weights: Mapping[str, float], most_tokens: int | None = None
    ) -> None:
        """Add a conversation; of each answer `most_tokens` at most."""
        for role, text in turns:
            piece = (*self._encode(text), self._ids[END])
            if role == ASSISTANT:
                piece = piece[:most_tokens]
            weight = weights.get(role, 0.0)
            row.ids += [self._ids[role], *piece]
            row.weights += [0.0, *[weight] * len(piece)]
            row.questions += [text] * (role == USER)
        row.ids.append(self._ids[END_OF_TEXT])
        row.weights.append(0.0)


class _Growing:
    """A row while conversations are added to it."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.weights: list[float] = []
        self.questions: list[str] = []

    def cut(self, length: int) -> Row:
        return Row(self.ids[:length], self.weights[:length], tuple(self.questions))


def tokenizer_texts(corpus: Corpus, other_text: str, seed: int) -> Iterator[str]:
    """What the vocabulary is learnt from: all kinds of conversations, and a little text of other kinds."""
    rng = random.Random(f"{seed}/tokenizer")
    for _ in range(9000):
        yield from (text for _, text in corpus.help(rng))
    for _ in range(1500):
        yield from (text for _, text in corpus.tools(rng))
        yield from (text for _, text in corpus.json(rng))
    for _ in range(40):
        yield other_text
