"""Tools that nobody wrote: a deed, an object and arguments, put together so that no two prompts are alike."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass

from localphi.toolchain.demo.settings import DATA_FOLDER
from localphi.toolchain.demo.tools import Form, Line, Parameter, Tool
from localphi.toolchain.demo.values import Values
from localphi.toolchain.demo.wording import pseudo_word

_LINES = 3
_FORM_OPENINGS = (
    "a {o}",
    "one {o}",
    "there is a {o}",
    "we need a {o}",
    "please note a {o}",
    "the {o}",
    "I have a new {o}",
    "somebody wants a {o}",
    "here is the {o}",
    "yesterday we got a {o}",
)
_PSEUDO_SHARE = 0.3
_PARAMETER_COUNTS, _PARAMETER_WEIGHTS = (0, 1, 2, 3), (0.1, 0.4, 0.35, 0.15)


@dataclass(frozen=True)
class _Verb:
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    asks: tuple[str, ...]
    attribute: bool
    plural: bool


@dataclass(frozen=True)
class _Argument:
    names: tuple[str, ...]
    kind: str
    values: tuple[str, ...]
    descriptions: tuple[str, ...]
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class _Flag:
    names: tuple[str, ...]
    description: str
    yes: tuple[str, ...]
    no: tuple[str, ...]


@dataclass(frozen=True)
class _Chosen:
    """An argument of one tool, and how requests word it: phrase and, for flags, what it decides."""

    parameter: Parameter
    phrases: tuple[tuple[str, bool | None], ...]


class Inventor:
    """Makes tools. `family` gives tools that are easily taken for one another."""

    def __init__(self, values: Values) -> None:
        with (DATA_FOLDER / "invented.toml").open("rb") as file:
            document = tomllib.load(file)
        self._values = values
        self._verbs = tuple(
            _Verb(
                tuple(entry["names"]),
                tuple(entry["descriptions"]),
                tuple(entry["asks"]),
                entry.get("attribute", False),
                entry.get("plural", False),
            )
            for entry in document["verb"]
        )
        self._arguments = tuple(
            _Argument(
                tuple(entry["name"]),
                entry.get("kind", "enum"),
                tuple(entry.get("values", ())),
                tuple(entry["description"]),
                tuple(entry["phrases"]),
            )
            for entry in document["argument"]
        )
        self._flags = tuple(
            _Flag(tuple(entry["name"]), entry["description"], tuple(entry["yes"]), tuple(entry["no"]))
            for entry in document["flag"]
        )

    def tool(self, rng: random.Random) -> Tool:
        """Some tool."""
        return self._make(rng.choice(self._verbs), self._object(rng), rng)

    def family(self, rng: random.Random, count: int) -> list[Tool]:
        """`count` tools that share the object and differ in the deed, or the other way round."""
        if rng.random() < 0.5:
            thing = self._object(rng)
            verbs = rng.sample(self._verbs, count)
            return [self._make(verb, thing, rng) for verb in verbs]
        verb = rng.choice(self._verbs)
        return [self._make(verb, self._object(rng), rng) for _ in range(count)]

    def form(self, rng: random.Random) -> Form:
        """A small schema, and sentences that hold its values."""
        chosen = [
            self._argument(argument, rng) for argument in rng.sample(self._arguments, rng.randint(2, 5))
        ]
        by_name = {item.parameter.name: item for item in chosen}
        properties = list(by_name.values())
        thing = self._object(rng)
        lines = tuple(self._sentence(thing, properties, rng) for _ in range(_LINES))
        return Form(tuple(item.parameter for item in properties), lines)

    def _sentence(self, thing: str, chosen: list[_Chosen], rng: random.Random) -> Line:
        order = rng.sample(chosen, len(chosen))
        if rng.random() < 0.3:
            parts = [f"{item.parameter.name.replace('_', ' ')} {{{item.parameter.name}}}" for item in order]
            return Line(rng.choice((", ", "; ", " and ", ". ")).join(parts))
        opening = rng.choice(_FORM_OPENINGS).format(o=thing)
        return Line(f"{opening} {' '.join(rng.choice(item.phrases)[0] for item in order)}")

    def _object(self, rng: random.Random) -> str:
        invented = rng.random() < _PSEUDO_SHARE
        noun = pseudo_word(rng).lower() if invented else self._values.pick("noun", rng)
        draw = rng.random()
        if draw < 0.12:
            return f"{self._values.pick('noun', rng)} {noun}"
        return f"{self._values.pick('word', rng)} {noun}" if draw < 0.18 else noun

    def _make(self, verb: _Verb, thing: str, rng: random.Random) -> Tool:
        if verb.attribute and rng.random() < 0.6:
            thing = f"{thing} {self._values.pick('attribute', rng)}"
        if verb.plural:
            thing += "s"
        chosen = self._choose(rng)
        name = f"{rng.choice(verb.names)}_{thing.replace(' ', '_')}"
        descriptions = tuple(text.format(o=thing) for text in rng.sample(verb.descriptions, 1))
        lines = tuple(self._line(verb, thing, chosen, rng) for _ in range(_LINES))
        return Tool(name, descriptions, tuple(c.parameter for c in chosen), lines, self._results(thing, rng))

    def _choose(self, rng: random.Random) -> list[_Chosen]:
        count = rng.choices(_PARAMETER_COUNTS, _PARAMETER_WEIGHTS)[0]
        chosen: list[_Chosen] = []
        names: set[str] = set()
        for argument in rng.sample(self._arguments, count):
            item = self._argument(argument, rng)
            if item.parameter.name not in names:
                names.add(item.parameter.name)
                chosen.append(item)
        if rng.random() < 0.15:
            flag = rng.choice(self._flags)
            name = rng.choice(flag.names)
            if name not in names:
                parameter = Parameter(name, "boolean", flag.description, rng.random() < 0.3)
                sides = [(text, True) for text in flag.yes] + [(text, False) for text in flag.no]
                chosen.append(_Chosen(parameter, tuple(sides)))
        return chosen

    def _argument(self, argument: _Argument, rng: random.Random) -> _Chosen:
        name = rng.choice(argument.names)
        description, required = rng.choice(argument.descriptions), rng.random() < 0.6
        words = name.replace("_", " ")
        general = (f"with {words} {{v}}", f"{words} {{v}}", f"{words}: {{v}}", f"with the {words} {{v}}")
        phrases = argument.phrases if rng.random() < 0.75 else general
        slot = "{" + name + "}"
        return _Chosen(
            Parameter(name, argument.kind, description, required, argument.values),
            tuple((phrase.replace("{v}", slot), None) for phrase in phrases),
        )

    def _line(self, verb: _Verb, thing: str, chosen: list[_Chosen], rng: random.Random) -> Line:
        text = rng.choice(verb.asks).format(o=thing)
        fixed: dict[str, bool] = {}
        spoken = [c for c in chosen if c.parameter.required or rng.random() < 0.6]
        rng.shuffle(spoken)
        for item in spoken:
            phrase, decided = rng.choice(item.phrases)
            if decided is not None:
                fixed[item.parameter.name] = decided
            gap = "" if phrase.startswith(":") else rng.choice((" ", " ", " ", ", "))
            text += gap + phrase
        return Line(text, fixed)

    def _results(self, thing: str, rng: random.Random) -> tuple[str, ...]:
        key = thing.replace(" ", "_")
        other = self._values.pick("attribute", rng)
        return (
            f'{{"{key}": "{{word}}"}}',
            f'{{"{key}": {{integer:0-500}}}}',
            f'{{"{other}": {{number:0-90:1}}, "{key}": "{{code}}"}}',
            f'{{"status": "{{word}}", "{other}": {{integer:0-500}}}}',
            '{"id": "{code}", "status": "ok"}',
            '{"name": "{person}", "date": "{date}"}',
            "{number:0-900:2}",
            "{phrase}",
        )
