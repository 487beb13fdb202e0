"""Cases to ask a model. Those of this folder are the held-out set, on which the demo model never was trained.

help.toml   questions with the key terms of the right answer; questions out of scope; follow-ups
tools.toml  tools, requests with the calls they mean, and results to be put into a sentence
json.toml   schemas, sentences and the objects they mean
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

OUT_OF_SCOPE = "out-of-scope"
HELD_OUT = Path(__file__).parent


@dataclass(frozen=True)
class HelpCase:
    """A question, the fact that answers it, and what a right answer holds: terms, alternatives between bars.

    before: the questions that were asked earlier in the same conversation.
    """

    ask: str
    fact: str
    terms: tuple[str, ...]
    before: tuple[str, ...] = ()

    def missing(self, answer: str) -> list[str]:
        """The terms that the answer does not have, in any case of letters."""
        lower = answer.lower()
        return [term for term in self.terms if not any(word in lower for word in term.lower().split("|"))]


@dataclass(frozen=True)
class CaseTool:
    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCase:
    """A request with some tools, and the calls it means; no calls where no tool fits."""

    tools: tuple[CaseTool, ...]
    ask: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class ResultCase:
    """A call that was made, what it returned, and what the sentence about it must contain."""

    tool: CaseTool
    ask: str
    arguments: Mapping[str, Any]
    result: str
    must_contain: tuple[str, ...]


@dataclass(frozen=True)
class JsonCase:
    schema: Mapping[str, Any]
    ask: str
    expected: Mapping[str, Any]


@dataclass(frozen=True)
class CaseSet:
    help: tuple[HelpCase, ...]
    tool_cases: tuple[ToolCase, ...]
    results: tuple[ResultCase, ...]
    json: tuple[JsonCase, ...]
    tools: tuple[CaseTool, ...]

    @cached_property
    def questions(self) -> frozenset[str]:
        """Everything that is asked in it, normalised."""
        asked = (
            case.ask for cases in (self.help, self.tool_cases, self.results, self.json) for case in cases
        )
        return frozenset(normalise(ask) for ask in asked)

    @cached_property
    def tool_names(self) -> frozenset[str]:
        """The names of the tools, with and without their plugin, normalised."""
        return frozenset(
            normalise_name(name) for tool in self.tools for name in (tool.name, tool.name.rpartition("-")[2])
        )

    @cached_property
    def descriptions(self) -> frozenset[str]:
        """The descriptions of the tools, normalised."""
        return frozenset(normalise(tool.description) for tool in self.tools)

    @cached_property
    def values(self) -> frozenset[str]:
        """The texts that must be copied into arguments and objects, normalised; not those of an enum."""
        return frozenset(normalise(text) for text in self._texts())

    def _texts(self) -> Iterator[str]:
        schemas = {tool.name: tool.parameters for tool in self.tools}
        for case in self.tool_cases:
            for name, arguments in case.calls:
                yield from _free_texts(schemas[name], arguments)
        for result in self.results:
            yield from _free_texts(result.tool.parameters, result.arguments)
        for entry in self.json:
            yield from _free_texts(entry.schema, entry.expected)


def load_cases(folder: Path = HELD_OUT) -> CaseSet:
    """Read help.toml, tools.toml and json.toml of `folder`.

    Raises ValueError, naming the file or the case, where one is missing, is no TOML or contradicts itself.
    """
    try:
        return _case_set(_read(folder, "help"), _read(folder, "tools"), _read(folder, "json"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}: a case lacks an entry or has one too many: {error}") from None


def _case_set(help_file: dict[str, Any], tool_file: dict[str, Any], json_file: dict[str, Any]) -> CaseSet:
    tools = {entry["name"]: CaseTool(**entry) for entry in tool_file["tool"]}
    return CaseSet(
        help=tuple(_help_cases(help_file)),
        tool_cases=tuple(_tool_case(entry, tools) for entry in tool_file["case"]),
        results=tuple(
            ResultCase(
                tools[entry["tool"]],
                entry["ask"],
                entry["call"],
                entry["result"],
                tuple(entry["must_contain"]),
            )
            for entry in tool_file["result"]
        ),
        json=tuple(JsonCase(**entry) for entry in json_file["case"]),
        tools=tuple(tools.values()),
    )


def normalise(text: str) -> str:
    """What two texts share when they differ only in case, punctuation and spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def normalise_name(name: str) -> str:
    """A tool's name without its style: find_parking, findParking and Find-parking are the same."""
    return re.sub(r"[_\W]+", "", name).lower()


def _help_cases(document: dict[str, Any]) -> Iterator[HelpCase]:
    for entry in document["question"]:
        yield HelpCase(entry["ask"], entry["fact"], tuple(entry["terms"]))
    for dialogue in document.get("dialogue", ()):
        *before, (ask, fact) = dialogue["turns"]
        yield HelpCase(ask, fact, tuple(dialogue["terms"]), tuple(question for question, _ in before))


def _tool_case(entry: dict[str, Any], tools: Mapping[str, CaseTool]) -> ToolCase:
    calls = tuple((call["name"], call["arguments"]) for call in entry["calls"])
    if unoffered := {name for name, _ in calls} - set(entry["tools"]):
        raise ValueError(f"{entry['ask']!r} calls tools that are not offered: {sorted(unoffered)}")
    return ToolCase(tuple(tools[name] for name in entry["tools"]), entry["ask"], calls)


def _free_texts(schema: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, str) and "enum" not in schema["properties"][name]:
            yield value


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
