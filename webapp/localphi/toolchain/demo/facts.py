"""The reviewed data files as plain values."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from typing import Any

from localphi.toolchain.demo.settings import DATA_FOLDER


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
    weight: float


@dataclass(frozen=True)
class Knowledge:
    """All data files. `by_id` finds any fact, small talk included."""

    facts: tuple[Fact, ...]
    small_talk: tuple[Fact, ...]
    dialogues: tuple[tuple[tuple[str, str], ...], ...]
    systems: tuple[str, ...]
    refusal: str
    out_of_scope: tuple[Group, ...]

    @property
    def by_id(self) -> dict[str, Fact]:
        return {fact.id: fact for fact in (*self.facts, *self.small_talk)}


def load_knowledge() -> Knowledge:
    """Read and check the data files. Raises ValueError when an id is used twice or not known."""
    outside = _read("out_of_scope")
    more = _read("questions")
    facts = _facts("facts")
    if unknown := set(more) - {fact.id for fact in facts}:
        raise ValueError(f"questions.toml asks for {sorted(unknown)}, which no fact is")
    knowledge = Knowledge(
        facts=tuple(replace(f, questions=(*f.questions, *more.get(f.id, ()))) for f in facts),
        small_talk=_facts("small_talk"),
        dialogues=tuple(
            tuple((ask, fact) for ask, fact in dialogue["turns"])
            for dialogue in _read("dialogues")["dialogue"]
        ),
        systems=tuple(_read("systems")["systems"]),
        refusal=outside["answer"],
        out_of_scope=tuple(
            Group(tuple(group["ask"]), tuple(group["names"]), group["weight"]) for group in outside["group"]
        ),
    )
    _check(knowledge)
    return knowledge


def _check(knowledge: Knowledge) -> None:
    ids = [fact.id for fact in (*knowledge.facts, *knowledge.small_talk)]
    if len(set(ids)) != len(ids):
        raise ValueError("two facts have the same id")
    used = {fact for dialogue in knowledge.dialogues for _, fact in dialogue}
    if unknown := used - set(ids):
        raise ValueError(f"no fact has the id {sorted(unknown)}")


def _facts(name: str) -> tuple[Fact, ...]:
    lists = ("questions", "topics", "tasks")
    return tuple(
        Fact(entry["id"], entry["answer"], **{key: tuple(entry.get(key, ())) for key in lists})
        for entry in _read(name)["fact"]
    )


def _read(name: str) -> dict[str, Any]:
    with (DATA_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
