"""The training text: endless streams of conversations. All draws come from the `rng` passed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from localphi.toolchain.demo.facts import Fact, Knowledge
from localphi.toolchain.demo.json_turns import JsonConversations
from localphi.toolchain.demo.settings import ASSISTANT, SYSTEM, USER, Turn
from localphi.toolchain.demo.tool_turns import ToolConversations
from localphi.toolchain.demo.tools import load_forms, load_tools
from localphi.toolchain.demo.values import Values
from localphi.toolchain.demo.wording import Wording, load_wording, pseudo_word
from localphi.toolchain.evaluate.cases import CaseSet, normalise

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
_SHARE_OF_FACTS = 0.68
_SHARE_OF_SMALL_TALK = 0.10
_SHARE_OF_DIALOGUES = 0.16


class Corpus:
    """Everything the model is trained on, by kind. Nothing of the sets in `barred` comes up in it."""

    def __init__(self, knowledge: Knowledge, *barred: CaseSet) -> None:
        wording = load_wording()
        values = Values(frozenset[str]().union(*(cases.values for cases in barred)))
        questions = frozenset[str]().union(*(cases.questions for cases in barred))
        help_talks = HelpConversations(knowledge, wording, questions)
        tool_talks = ToolConversations(
            values=values,
            written=load_tools(),
            wording=wording,
            systems=knowledge.systems,
            other=help_talks.exchange,
            barred=frozenset[str]().union(
                *(cases.tool_names | cases.descriptions | cases.questions for cases in barred)
            ),
        )
        help_talks.add_outside(tool_talks.request)
        self.help = help_talks.draw
        self.tools = tool_talks.draw
        self.json = JsonConversations(values, load_forms(), knowledge.systems).draw


class HelpConversations:
    """Draws conversations about localphi and its world. No question in `barred` (normalised) comes up."""

    def __init__(self, knowledge: Knowledge, wording: Wording, barred: Collection[str]) -> None:
        self._knowledge = knowledge
        self._wording = wording
        self._facts = knowledge.by_id
        self._fact_weights = [_OFTEN.get(fact.id, 1.0) for fact in knowledge.facts]
        self._small_talk_weights = [len(fact.questions) ** 0.5 for fact in knowledge.small_talk]
        self._barred = barred
        self._requests: Callable[[random.Random], str] | None = None

    def add_outside(self, requests: Callable[[random.Random], str]) -> None:
        """Requests that cannot be met here, to be refused like questions out of scope."""
        self._requests = requests

    def draw(self, rng: random.Random, most_exchanges: int = 4) -> list[Turn]:
        """One conversation: perhaps a system turn, then exchanges of question and answer."""
        turns: list[Turn] = []
        if rng.random() < 0.3:
            turns.append((SYSTEM, rng.choice(self._knowledge.systems)))
        if rng.random() < _SHARE_OF_DIALOGUES:
            return turns + self._dialogue(rng)
        count = 1
        while count < most_exchanges and rng.random() < 0.5:
            count += 1
        for _ in range(count):
            question, answer = self.exchange(rng, self._knowledge.refusal)
            turns += [(USER, question), (ASSISTANT, answer)]
        return turns

    def exchange(self, rng: random.Random, refusal: str) -> tuple[str, str]:
        """One question in some wording, and its answer; `refusal` where the question is out of scope."""
        while True:
            question, answer = self._any_exchange(rng, refusal)
            question = self._wording.varied(question, rng)
            if self._may_be_asked(question):
                return question, answer

    def _may_be_asked(self, question: str) -> bool:
        return normalise(question) not in self._barred

    def _any_exchange(self, rng: random.Random, refusal: str) -> tuple[str, str]:
        draw = rng.random()
        if draw < _SHARE_OF_FACTS:
            fact = rng.choices(self._knowledge.facts, self._fact_weights)[0]
            return self._form(fact, rng), fact.answer
        if draw < _SHARE_OF_FACTS + _SHARE_OF_SMALL_TALK:
            fact = rng.choices(self._knowledge.small_talk, self._small_talk_weights)[0]
            return rng.choice(fact.questions), fact.answer
        return self._outside(rng), refusal

    def _form(self, fact: Fact, rng: random.Random) -> str:
        """A question for the fact: written out, or a form around one of its topics or tasks."""
        wholes = ("{}",)
        kinds = (
            (fact.questions, wholes, 0.8),
            (fact.topics, self._wording.topic_forms, 0.2),
            (fact.tasks, self._wording.task_forms, 0.2),
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
        if draw < 0.30 and self._requests is not None:
            return self._requests(rng)
        groups = self._knowledge.out_of_scope
        group = rng.choices(groups, [group.weight for group in groups])[0]
        return rng.choice(group.ask).format(rng.choice(group.names))

    def _dialogue(self, rng: random.Random) -> list[Turn]:
        while True:
            facts = rng.choice(self._knowledge.dialogues)
            questions = [self._wording.varied(question, rng) for question, _ in facts]
            if all(map(self._may_be_asked, questions)):
                break
        turns: list[Turn] = []
        for question, (_, fact) in zip(questions, facts, strict=True):
            turns += [(USER, question), (ASSISTANT, self._facts[fact].answer)]
        return turns
