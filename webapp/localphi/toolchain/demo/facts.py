"""The reviewed data files as plain values."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from localphi.toolchain.demo.settings import DATA_FOLDER

OUT_OF_SCOPE = "out-of-scope"


@dataclass(frozen=True)
class Fact:
    """One answer and what it answers: whole questions, and the topics and tasks that templates ask about."""

    id: str
    answer: str
    questions: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Out-of-scope questions: every form in `ask` can hold every name."""

    ask: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class HeldOut:
    """A question kept out of the training text. Each term is alternatives between bars."""

    ask: str
    fact: str
    terms: tuple[str, ...]

    def missing(self, answer: str) -> list[str]:
        """The terms that the answer does not have, in any case of letters."""
        lower = answer.lower()
        return [term for term in self.terms if not any(word in lower for word in term.lower().split("|"))]


@dataclass(frozen=True)
class Knowledge:
    """All data files. `by_id` finds any fact, small talk included."""

    facts: tuple[Fact, ...]
    small_talk: tuple[Fact, ...]
    dialogues: tuple[tuple[tuple[str, str], ...], ...]
    systems: tuple[str, ...]
    refusal: str
    out_of_scope: tuple[Group, ...]
    held_out: tuple[HeldOut, ...]

    @property
    def by_id(self) -> dict[str, Fact]:
        return {fact.id: fact for fact in (*self.facts, *self.small_talk)}


def load_knowledge() -> Knowledge:
    """Read and check the data files. Raises ValueError when an id is used twice or not known."""
    outside = _read("out_of_scope")
    knowledge = Knowledge(
        facts=_facts("facts"),
        small_talk=_facts("small_talk"),
        dialogues=tuple(
            tuple((ask, fact) for ask, fact in dialogue["turns"])
            for dialogue in _read("dialogues")["dialogue"]
        ),
        systems=tuple(_read("systems")["systems"]),
        refusal=outside["answer"],
        out_of_scope=tuple(Group(tuple(group["ask"]), tuple(group["names"])) for group in outside["group"]),
        held_out=tuple(
            HeldOut(q["ask"], q["fact"], tuple(q["terms"])) for q in _read("held_out")["question"]
        ),
    )
    _check(knowledge)
    return knowledge


def normalise(question: str) -> str:
    """What two questions share when they differ only in case, punctuation and spaces."""
    return " ".join(re.findall(r"\w+", question.lower()))


def _check(knowledge: Knowledge) -> None:
    ids = [fact.id for fact in (*knowledge.facts, *knowledge.small_talk)]
    used = {fact for dialogue in knowledge.dialogues for _, fact in dialogue} | {
        q.fact for q in knowledge.held_out
    }
    if len(set(ids)) != len(ids):
        raise ValueError("two facts have the same id")
    if unknown := used - {*ids, OUT_OF_SCOPE}:
        raise ValueError(f"no fact has the id {sorted(unknown)}")
    held_out = {normalise(question.ask) for question in knowledge.held_out}
    written = {
        normalise(form) for fact in (*knowledge.facts, *knowledge.small_talk) for form in fact.questions
    }
    if both := held_out & written:
        raise ValueError(f"held-out questions that are also written for training: {sorted(both)}")


def _facts(name: str) -> tuple[Fact, ...]:
    lists = ("questions", "topics", "tasks")
    return tuple(
        Fact(entry["id"], entry["answer"], **{key: tuple(entry.get(key, ())) for key in lists})
        for entry in _read(name)["fact"]
    )


def _read(name: str) -> dict[str, Any]:
    with (DATA_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
