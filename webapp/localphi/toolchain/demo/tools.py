"""Tools as the training text knows them: what is offered, how people ask for it, and what comes back."""

from __future__ import annotations

import json
import random
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

from localphi.toolchain.demo.settings import DATA_FOLDER
from localphi.toolchain.demo.values import Value, Values

_SLOT = re.compile(r"\{([\w:.-]+)\}")


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool, or one property of a form."""

    name: str
    kind: str
    description: str = ""
    required: bool = False
    values: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The JSON schema type."""
        stem = self.kind.partition(":")[0]
        return stem if stem in {"integer", "number", "boolean"} else "string"

    def schema(self, rng: random.Random, described: bool) -> dict[str, Any]:
        """The JSON schema of this property."""
        schema: dict[str, Any] = {"type": self.type}
        if described and self.description:
            schema["description"] = self.description
        if self.values:
            schema["enum"] = list(self.values)
        if rng.random() < 0.3:
            schema = dict(sorted(schema.items()))
        return schema

    def draw(self, values: Values, rng: random.Random) -> Value:
        """A value for a slot of this parameter."""
        if self.values:
            text = rng.choice(self.values)
            return Value(text, text)
        return values.draw(self.kind, rng)


@dataclass(frozen=True)
class Line:
    """A way to say something: text with slots, and arguments that the wording decides."""

    text: str
    fixed: dict[str, Any] = field(default_factory=dict)

    @property
    def slots(self) -> list[str]:
        return _SLOT.findall(self.text)


@dataclass(frozen=True)
class Tool:
    name: str
    descriptions: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    say: tuple[Line, ...]
    results: tuple[str, ...] = ()

    def ask(self, values: Values, rng: random.Random) -> tuple[str, dict[str, Any]]:
        """A request, and the arguments it means, in the order of the parameters."""
        line = rng.choice(self.say)
        return fill(line, self.parameters, values, rng)

    def result(self, values: Values, rng: random.Random) -> str | None:
        """Something that this tool may return, or None where nobody wrote one."""
        if not self.results:
            return None
        template = rng.choice(self.results)
        return _SLOT.sub(lambda match: _json_inner(values.draw(match[1], rng).text), template)


@dataclass(frozen=True)
class Form:
    """A small JSON schema, and sentences that hold its values."""

    properties: tuple[Parameter, ...]
    say: tuple[Line, ...]

    def ask(self, values: Values, rng: random.Random) -> tuple[str, dict[str, Any]]:
        """A sentence, and the object it means."""
        return fill(rng.choice(self.say), self.properties, values, rng)


def fill(
    line: Line, parameters: tuple[Parameter, ...], values: Values, rng: random.Random
) -> tuple[str, dict[str, Any]]:
    """The line with its slots filled, and the arguments that it means."""
    by_name = {parameter.name: parameter for parameter in parameters}
    drawn = {name: by_name[name].draw(values, rng) for name in line.slots}
    arguments = {name: value.json for name, value in drawn.items()} | line.fixed
    text = _SLOT.sub(lambda match: drawn[match[1]].text, line.text)
    return text, {name: arguments[name] for name in by_name if name in arguments}


def load_tools() -> tuple[Tool, ...]:
    """The tools of tools.toml. Raises ValueError, naming the tool, for a line that cannot be filled."""
    return tuple(_tool(entry) for entry in _read("tools")["tool"])


def load_forms() -> tuple[Form, ...]:
    """The forms of forms.toml. Raises ValueError for a sentence that does not hold every property."""
    forms = []
    for entry in _read("forms")["form"]:
        properties = _parameters(entry["properties"])
        form = Form(properties, tuple(_line(text, properties) for text in entry["say"]))
        for line in form.say:
            if missing := {p.name for p in properties} - {*line.slots, *line.fixed}:
                raise ValueError(f"{line.text!r} does not say {sorted(missing)}")
        forms.append(form)
    return tuple(forms)


def _tool(entry: dict[str, Any]) -> Tool:
    parameters = _parameters(entry.get("parameters", ()))
    tool = Tool(
        entry["name"],
        tuple(entry["descriptions"]),
        parameters,
        tuple(_line(text, parameters) for text in entry["say"]),
        tuple(entry.get("results", ())),
    )
    required = {parameter.name for parameter in parameters if parameter.required}
    for line in tool.say:
        if missing := required - {*line.slots, *line.fixed}:
            raise ValueError(f"{tool.name}: {line.text!r} does not say {sorted(missing)}")
    return tool


def _parameters(entries: list[dict[str, Any]]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            entry["name"],
            entry["kind"],
            entry.get("description", ""),
            bool(entry.get("required", False)),
            tuple(entry.get("values", ())),
        )
        for entry in entries
    )


def _line(text: str, parameters: tuple[Parameter, ...]) -> Line:
    said, _, decided = text.partition(" => ")
    by_name = {parameter.name: parameter for parameter in parameters}
    fixed = {}
    for assignment in filter(None, (part.strip() for part in decided.split(";"))):
        name, _, value = assignment.partition("=")
        if name not in by_name:
            raise ValueError(f"{text!r} decides {name!r}, which is not a parameter")
        fixed[name] = value if by_name[name].type == "string" else json.loads(value)
    line = Line(said, fixed)
    if unknown := set(line.slots) - set(by_name):
        raise ValueError(f"{text!r} has slots that are not parameters: {sorted(unknown)}")
    return line


def _json_inner(text: str) -> str:
    """A text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _read(name: str) -> dict[str, Any]:
    with (DATA_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
