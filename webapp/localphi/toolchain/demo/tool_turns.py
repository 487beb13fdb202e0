"""Conversations with tools: what is offered, what is asked, the calls, and sentences made of the results."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from localphi.toolchain.demo.invented import Inventor
from localphi.toolchain.demo.settings import (
    ASSISTANT,
    SYSTEM,
    TOOL,
    TOOL_CALL,
    TOOL_CALL_CLOSE,
    TOOL_CLOSE,
    TOOL_RESPONSE,
    USER,
    Turn,
)
from localphi.toolchain.demo.tools import Line, Tool, fill
from localphi.toolchain.demo.values import Values
from localphi.toolchain.demo.wording import Wording
from localphi.toolchain.evaluate.cases import normalise, normalise_name

NO_TOOL = "None of the tools I was given does that, and I do not know it myself."
_TOOL_SYSTEMS = (
    "You are a helpful assistant with some tools.",
    "You are a helpful assistant. Use the tools when they help.",
    "You can call functions. Call one only if it fits.",
    "Use the given tools to answer.",
    "You are an agent with tools.",
)
_JOINTS = (" and ", " and also ", ", and ", ". ", "; ", " and then ", ", then ", ". Also, ", ", also ")
_PLUGINS = ("Home", "Office", "Tools", "Travel", "Data", "Shop", "Core", "Api", "Math", "Service", "Utils")
_WRITTEN_SHARE = 0.55
_RESULT_SHARE = 0.2  # of the calls whose results are told
_ERRORS = (
    "not found",
    "no permission",
    "timeout",
    "the service is down",
    "bad input",
    "unknown {word}",
    "{word} is full",
)

Call = tuple[str, dict[str, Any]]  # name, arguments


@dataclass(frozen=True)
class _Style:
    """How one client writes its tool list."""

    camel: bool
    plugin: str | None
    described: bool
    closed: bool

    def name(self, name: str) -> str:
        if self.camel and "-" not in name:
            first, *others = name.split("_")
            name = first + "".join(word.capitalize() for word in others)
        return f"{self.plugin}-{name}" if self.plugin else name


@dataclass(frozen=True)
class Offered:
    """A tool under the name that this conversation knows it by."""

    name: str
    tool: Tool


class ToolConversations:
    """Draws conversations with 1 to 8 tools.

    other gives a question that needs no tool, and its answer; it gets the answer for what nobody here can do.
    No tool whose name or description is in `barred` (normalised) is offered, no request of it asked.
    """

    def __init__(
        self,
        *,
        values: Values,
        written: Sequence[Tool],
        wording: Wording,
        systems: Sequence[str],
        other: Callable[[random.Random, str], tuple[str, str]],
        barred: Collection[str] = frozenset(),
    ) -> None:
        self._values = values
        self._barred = barred
        self._written = self._unbarred(written)
        self._inventor = Inventor(values)
        self._wording = wording
        self._systems = (*systems, *_TOOL_SYSTEMS * 2)
        self._other = other

    def draw(
        self, rng: random.Random, most_tools: int = 8, exchanges: tuple[int, int] = (3, 9)
    ) -> list[Turn]:
        """One conversation: the tools, then requests, calls, and some of the results."""
        style = self._style(rng)
        tools, left_out = self._offer(rng, rng.randint(1, most_tools))
        offered = [Offered(style.name(tool.name), tool) for tool in tools]
        turns = [self._system(offered, style, rng)]
        for _ in range(rng.randint(*exchanges)):
            turns += self._exchange(offered, left_out, rng)
        return turns

    def request(self, rng: random.Random) -> str:
        """What somebody might ask of a tool that is not there."""
        return self._ask(rng.choice(self._written), rng)[0]

    # -------------------------------------------------------------- what is offered

    def _offer(self, rng: random.Random, count: int) -> tuple[list[Tool], list[Tool]]:
        """The offered tools, and some that are not offered."""
        tools: list[Tool] = []
        while len(tools) < count:
            tools += self._some(rng, min(count - len(tools), rng.randint(1, 3)))
        by_name = {tool.name: tool for tool in tools}
        tools = list(by_name.values())
        rng.shuffle(tools)
        return tools, [tool for tool in self._some(rng, 2) if tool.name not in by_name]

    def _some(self, rng: random.Random, count: int) -> list[Tool]:
        """Tools that are easily taken for one another, or just any."""
        if rng.random() < _WRITTEN_SHARE:
            if rng.random() < 0.5:  # neighbours in the file have the same subject
                start = rng.randrange(len(self._written) - count + 1)
                return self._written[start : start + count]
            return rng.sample(self._written, count)
        if rng.random() < 0.5:
            return self._unbarred(self._inventor.family(rng, count))
        return self._unbarred([self._inventor.tool(rng) for _ in range(count)])

    def _unbarred(self, tools: Sequence[Tool]) -> list[Tool]:
        return [
            tool
            for tool in tools
            if normalise_name(tool.name) not in self._barred
            and not any(normalise(text) in self._barred for text in tool.descriptions)
        ]

    def _style(self, rng: random.Random) -> _Style:
        plugin = None
        if rng.random() < 0.2:
            plugin = rng.choice((*_PLUGINS, self._values.pick("noun", rng).capitalize()))
        return _Style(rng.random() < 0.15, plugin, rng.random() < 0.7, rng.random() < 0.15)

    def _system(self, offered: list[Offered], style: _Style, rng: random.Random) -> Turn:
        text = "" if rng.random() < 0.4 else rng.choice(self._systems)
        tools = [_described(item, style, rng) for item in offered]
        return SYSTEM, f"{text}{TOOL}{_json(tools)}{TOOL_CLOSE}"

    # -------------------------------------------------------------- what is asked

    def _exchange(self, offered: list[Offered], left_out: list[Tool], rng: random.Random) -> list[Turn]:
        draw = rng.random()
        if draw < 0.66:
            item = rng.choice(offered)
            ask, arguments = self._ask(item.tool, rng)
            return self._called(ask, [(item, arguments)], rng)
        if draw < 0.82:
            return self._called(*self._two(offered, rng), rng)
        if draw < 0.92 and left_out:
            return [(USER, self._ask(rng.choice(left_out), rng)[0]), (ASSISTANT, NO_TOOL)]
        question, answer = self._other(rng, NO_TOOL)
        return [(USER, question), (ASSISTANT, answer)]

    def _ask(self, tool: Tool, rng: random.Random) -> tuple[str, dict[str, Any]]:
        while True:
            line = rng.choice(tool.say)
            text, arguments = fill(self._reworded(line, rng), tool.parameters, self._values, rng)
            if normalise(text) not in self._barred:
                return text, arguments

    def _reworded(self, line: Line, rng: random.Random) -> Line:
        return Line(self._wording.framed(line.text, rng), line.fixed)

    def _two(
        self, offered: list[Offered], rng: random.Random
    ) -> tuple[str, list[tuple[Offered, dict[str, Any]]]]:
        if rng.random() < 0.4 and (shared := self._shared(rng.choice(offered), rng)):
            return shared
        first = rng.choice(offered)
        second = first if rng.random() < 0.35 else rng.choice(offered)
        one, two = self._ask(first.tool, rng), self._ask(second.tool, rng)
        joint = rng.choice(_JOINTS)
        head = one[0].rstrip("?.! ")
        tail = two[0] if joint == ". " else two[0][:1].lower() + two[0][1:]
        return f"{head}{joint}{tail}", [(first, one[1]), (second, two[1])]

    def _shared(
        self, item: Offered, rng: random.Random
    ) -> tuple[str, list[tuple[Offered, dict[str, Any]]]] | None:
        """One request for two values of one argument: "the weather in Oslo and Rome"."""
        line = rng.choice(item.tool.say)
        if len(line.slots) != 1:
            return None
        name = line.slots[0]
        parameter = next(p for p in item.tool.parameters if p.name == name)
        if parameter.values or parameter.kind in {"sentence", "phrase"}:
            return None
        one, two = parameter.draw(self._values, rng), parameter.draw(self._values, rng)
        if one == two:
            return None
        both = f"{one.text} and {two.text}"
        text = self._wording.framed(line.text, rng).replace("{" + name + "}", both)
        return text, [(item, {name: value.json} | line.fixed) for value in (one, two)]

    # -------------------------------------------------------------- what is answered

    def _called(
        self, ask: str, calls: list[tuple[Offered, dict[str, Any]]], rng: random.Random
    ) -> list[Turn]:
        turns = [(USER, ask), (ASSISTANT, written_calls([(item.name, args) for item, args in calls]))]
        if rng.random() > _RESULT_SHARE:
            return turns
        results = [self._result(item.tool, rng) for item, _ in calls]
        if len(calls) == 1:
            turns.append((TOOL_RESPONSE, results[0]))
        else:
            named = zip(calls, results, strict=True)
            turns += [(TOOL_RESPONSE, _named_result(item.name, result)) for (item, _), result in named]
        return [*turns, (ASSISTANT, " ".join(sentence(result) for result in results))]

    def _result(self, tool: Tool, rng: random.Random) -> str:
        if rng.random() < 0.06:
            error = rng.choice(_ERRORS).format(word=self._values.pick("word", rng))
            return _json({"error": error})
        return tool.result(self._values, rng) or '{"status": "ok"}'


def written_calls(calls: Sequence[Call]) -> str:
    """Calls as the model writes them."""
    return (
        TOOL_CALL
        + _json([{"name": name, "arguments": arguments} for name, arguments in calls])
        + TOOL_CALL_CLOSE
    )


def sentence(result: str) -> str:
    """What the model says of a tool's result: every value, in order."""
    try:
        value = json.loads(result)
    except ValueError:
        return f"The result is {result}."
    if isinstance(value, dict) and set(value) == {"error"}:
        return f"The tool reported an error: {_words(value['error'])}."
    if isinstance(value, dict) and value:
        told = _joined([f"the {_key(key)} is {_words(item)}" for key, item in value.items()])
        return f"T{told[1:]}."
    return f"The result is {_words(value)}."


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return _joined([f"{_key(key)} {_words(item)}" for key, item in value.items()])
    if isinstance(value, list):
        return _joined([_words(item) for item in value]) if value else "empty"
    return value if isinstance(value, str) else json.dumps(value)


def _key(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).replace("_", " ")


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _described(item: Offered, style: _Style, rng: random.Random) -> dict[str, Any]:
    parameters = item.tool.parameters
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {p.name: p.schema(rng, style.described) for p in parameters},
    }
    required = [p.name for p in parameters if p.required]
    if required or rng.random() < 0.3:
        schema["required"] = required
    if style.closed:
        schema["additionalProperties"] = False
    return {"name": item.name, "description": rng.choice(item.tool.descriptions), "parameters": schema}


def _named_result(name: str, result: str) -> str:
    try:
        content = json.loads(result)
    except ValueError:
        content = result
    return _json({"name": name, "content": content})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
