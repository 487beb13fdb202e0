"""The training text: an endless, seeded stream of conversations and the rows of tokens made of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from localphi.toolchain.demo.facts import Fact, Knowledge, normalise
from localphi.toolchain.demo.settings import ASSISTANT, END, END_OF_TEXT, PLAN, SYSTEM, USER, Plan, Turn
from localphi.toolchain.demo.tokenizer import control_ids
from localphi.toolchain.demo.wording import load_wording, pseudo_word

_SUM_FORMS = ("What is {} {} {}?", "{} {} {}", "calculate {} {} {}", "how much is {} {} {}", "solve {} {} {}")
_OPERATORS = ("+", "-", "*", "/", "plus", "minus", "times", "divided by")

# What visitors ask most comes up most.
_OFTEN = {
    "localphi": 4.0,
    "identity": 2.5,
    "start": 1.5,
    "install": 1.5,
    "privacy": 1.5,
    "capabilities": 1.5,
    "other-model": 1.5,
}
_PLAIN_FORMS = 45  # the topic forms after these presume a known topic
_SHARE_OF_FACTS = 0.64
_SHARE_OF_SMALL_TALK = 0.12


@dataclass(frozen=True)
class Row:
    """`ids` of one row, how much each of them counts in the loss, and the questions asked in it."""

    ids: list[int]
    weights: list[float]
    questions: tuple[str, ...]


class Conversations:
    """Draws conversations. The held-out questions never come up in them."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._wording = load_wording()
        self._facts = knowledge.by_id
        self._fact_weights = [_OFTEN.get(fact.id, 1.0) for fact in knowledge.facts]
        self._small_talk_weights = [len(fact.questions) ** 0.5 for fact in knowledge.small_talk]
        self._held_out = {normalise(question.ask) for question in knowledge.held_out}

    def draw(self, rng: random.Random, most_exchanges: int = 4) -> list[Turn]:
        """One conversation: perhaps a system turn, then exchanges of question and answer."""
        turns: list[Turn] = []
        if rng.random() < 0.3:
            turns.append((SYSTEM, rng.choice(self._knowledge.systems)))
        if rng.random() < 0.06:
            return turns + self._dialogue(rng)
        count = 1
        while count < most_exchanges and rng.random() < 0.5:
            count += 1
        for _ in range(count):
            question, answer = self.exchange(rng)
            turns += [(USER, question), (ASSISTANT, answer)]
        return turns

    def exchange(self, rng: random.Random) -> tuple[str, str]:
        """One question in some wording, and its answer."""
        while True:
            question, answer = self._any_exchange(rng)
            question = self._wording.varied(question, rng)
            if normalise(question) not in self._held_out:
                return question, answer

    def _any_exchange(self, rng: random.Random) -> tuple[str, str]:
        draw = rng.random()
        if draw < _SHARE_OF_FACTS:
            fact = rng.choices(self._knowledge.facts, self._fact_weights)[0]
            return self._form(fact, rng), fact.answer
        if draw < _SHARE_OF_FACTS + _SHARE_OF_SMALL_TALK:
            fact = rng.choices(self._knowledge.small_talk, self._small_talk_weights)[0]
            return rng.choice(fact.questions), fact.answer
        return self._outside(rng), self._knowledge.refusal

    def _form(self, fact: Fact, rng: random.Random) -> str:
        """A question for the fact: written out, or a form around one of its topics or tasks."""
        wholes = ("{}",)
        kinds = (
            (fact.questions, wholes, 0.55),
            (fact.topics, self._wording.topic_forms, 0.3),
            (fact.tasks, self._wording.task_forms, 0.3),
        )
        present = [kind for kind in kinds if kind[0]]
        names, forms, _ = rng.choices(present, [weight for *_, weight in present])[0]
        name = rng.choice(names)
        return name if forms is wholes else rng.choice(forms).format(name)

    def _outside(self, rng: random.Random) -> str:
        draw = rng.random()
        if draw < 0.06:
            a, b = rng.randint(0, 10 ** rng.randint(1, 3)), rng.randint(1, 10 ** rng.randint(1, 3))
            return rng.choice(_SUM_FORMS).format(a, rng.choice(_OPERATORS), b)
        if draw < 0.16:
            return rng.choice(self._wording.topic_forms[:_PLAIN_FORMS]).format(pseudo_word(rng))
        weights = [1.0, 0.8, 0.7, 1.8, 1.2, 1.2]
        group = rng.choices(self._knowledge.out_of_scope, weights)[0]
        return rng.choice(group.ask).format(rng.choice(group.names))

    def _dialogue(self, rng: random.Random) -> list[Turn]:
        turns: list[Turn] = []
        for question, fact in rng.choice(self._knowledge.dialogues):
            turns += [(USER, self._wording.varied(question, rng)), (ASSISTANT, self._facts[fact].answer)]
        return turns


class Rows:
    """The rows of each training step. A step always gives the same rows, so that a run can be resumed."""

    def __init__(self, conversations: Conversations, tokenizer: Any, plan: Plan = PLAN) -> None:
        self._conversations = conversations
        self._plan = plan
        self._ids = control_ids()

        @lru_cache(maxsize=4096)
        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

        self._encode = encode

    def step(self, number: int) -> list[Row]:
        """Rows of equal length, each starting with a whole conversation."""
        rng = random.Random(f"{self._plan.seed}/{number}")
        plan = self._plan
        late = number >= plan.late_from
        if number % plan.long_every == plan.long_every - 1:
            count = plan.late_long_rows if late else plan.long_rows
            return [self._row(rng, plan.long_row_tokens, 16, 0.0) for _ in range(count)]
        count = plan.late_rows if late else plan.rows
        cut_share = plan.cut_share if late else 0.0
        return [self._row(rng, plan.row_tokens, 4, cut_share) for _ in range(count)]

    def _row(self, rng: random.Random, length: int, most_exchanges: int, cut_share: float) -> Row:
        ids: list[int] = []
        weights: list[float] = []
        questions: list[str] = []
        while len(ids) < length:
            cut = cut_share > 0 and rng.random() < cut_share
            for role, text in self._conversations.draw(rng, 1 if cut else most_exchanges):
                piece = (*self._encode(text), self._ids[END])
                if cut and role == ASSISTANT:
                    piece = piece[: self._plan.cut_tokens]
                weight = {ASSISTANT: 1.0, USER: self._plan.question_weight}.get(role, 0.0)
                ids += [self._ids[role], *piece]
                weights += [0.0, *[weight] * len(piece)]
                questions += [text] * (role == USER)
            ids.append(self._ids[END_OF_TEXT])
            weights.append(0.0)
        return Row(ids[:length], weights[:length], tuple(questions))


def tokenizer_texts(conversations: Conversations, other_text: str, seed: int) -> Iterator[str]:
    """What the vocabulary is learnt from: conversations, and other text so that it is not absurd there."""
    rng = random.Random(f"{seed}/tokenizer")
    for _ in range(12000):
        for _, text in conversations.draw(rng):
            yield text
    for _ in range(40):
        yield other_text
