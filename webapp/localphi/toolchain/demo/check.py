"""How well the exported model answers questions that were not in its training text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localphi.toolchain.demo.answer import Answerer
from localphi.toolchain.demo.corpus import Conversations, Rows
from localphi.toolchain.demo.facts import OUT_OF_SCOPE, HeldOut, Knowledge, load_knowledge, normalise
from localphi.toolchain.demo.settings import PLAN, SYSTEM, USER, Turn
from localphi.toolchain.demo.tokenizer import load_tokenizer

# An answer must not depend on what stands before the question.
BEFORE: dict[str, tuple[Turn, ...]] = {
    "alone": (),
    "after a system turn": ((SYSTEM, "You are a helpful assistant."),),
    "after an exchange": ((USER, "What is ONNX?"),),
}


@dataclass(frozen=True)
class Result:
    """What the model said. The refusal names the product, so it must not count by its words."""

    question: HeldOut
    answer: str
    ended: bool
    refused: bool

    @property
    def right(self) -> bool:
        wrongly_refused = self.refused and self.question.fact != OUT_OF_SCOPE
        return not wrongly_refused and not self.question.missing(self.answer)


@dataclass(frozen=True)
class Totals:
    """Counts over the held-out questions, apart for what the model should know and what it should refuse."""

    in_scope: int
    in_scope_right: int
    outside: int
    outside_right: int
    ended: int

    def __str__(self) -> str:
        asked = self.in_scope + self.outside
        return (
            f"in scope {self.in_scope_right}/{self.in_scope} right, "
            f"out of scope {self.outside_right}/{self.outside} refused, "
            f"{self.ended}/{asked} ended with <|end|>"
        )


def check_model(folder: Path, say: Callable[[str], object]) -> dict[str, Totals]:
    """Ask every held-out question alone, after a system turn and after an exchange.

    `say` gets every answer to the lone questions, the misses of the others, and the totals of each.
    """
    knowledge = load_knowledge()
    assert_unseen(knowledge, folder)
    answerer = Answerer(folder)
    totals: dict[str, Totals] = {}
    for name, before in BEFORE.items():
        turns = _with_answers(answerer, before)
        results = [_ask(answerer, turns, question, knowledge.refusal) for question in knowledge.held_out]
        for result in results:
            if not before or not result.right:
                say(_line(result))
        totals[name] = total(results)
        say(f"{name}: {totals[name]}")
    return totals


def total(results: list[Result]) -> Totals:
    """Count the results."""
    outside = [result for result in results if result.question.fact == OUT_OF_SCOPE]
    inside = [result for result in results if result.question.fact != OUT_OF_SCOPE]
    return Totals(
        in_scope=len(inside),
        in_scope_right=sum(result.right for result in inside),
        outside=len(outside),
        outside_right=sum(result.right for result in outside),
        ended=sum(result.ended for result in results),
    )


def assert_unseen(knowledge: Knowledge, folder: Path) -> None:
    """Raise ValueError if a held-out question is asked in training. The tokenizer is that of `folder`."""
    held_out = {normalise(question.ask) for question in knowledge.held_out}
    rows = Rows(Conversations(knowledge), load_tokenizer(folder), PLAN)
    for number in range(PLAN.steps):
        asked = {normalise(question) for row in rows.step(number) for question in row.questions}
        if both := held_out & asked:
            raise ValueError(f"held-out questions occur in step {number} of the training: {sorted(both)}")


def _ask(answerer: Answerer, turns: list[Turn], question: HeldOut, refusal: str) -> Result:
    answer, ended = answerer.answer([*turns, (USER, question.ask)])
    return Result(question, answer, ended, refused=answer == refusal)


def _with_answers(answerer: Answerer, before: tuple[Turn, ...]) -> list[Turn]:
    turns: list[Turn] = []
    for role, text in before:
        turns.append((role, text))
        if role == USER:
            turns.append(answerer.reply(turns))
    return turns


def _line(result: Result) -> str:
    mark = "ok  " if result.right else "MISS"
    end = "" if result.ended else "  [no <|end|>]"
    terms = ", ".join(result.question.missing(result.answer))
    missing = "" if result.right else f"  [wanted {result.question.fact}: {terms}]"
    return f"{mark} {result.question.ask}\n       {result.answer}{end}{missing}"
