"""Every case asked and judged; the counts by measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localphi.chat import JsonFormat, Message, Tool, ToolCall
from localphi.toolchain.evaluate.ask import Answer, Asker
from localphi.toolchain.evaluate.cases import (
    OUT_OF_SCOPE,
    CaseSet,
    CaseTool,
    HelpCase,
    JsonCase,
    ResultCase,
    ToolCase,
)

KINDS = ("help", "tools", "json")
MEASURES: Mapping[str, tuple[str, float | None]] = {
    "help": ("help: the right fact", 0.90),
    "follow-up": ("help: a follow-up understood", None),
    "out-of-scope": ("out of scope: declined", 0.90),
    "tool": ("tools: the right tools, or none", 0.95),
    "arguments": ("tools: and every argument right", 0.90),
    "no-tool": ("tools: none called where none fits", None),
    "result": ("tools: the result put into a sentence", None),
    "json-valid": ("JSON: fits the schema", None),
    "json": ("JSON: and every value right", 0.90),
    "ended": ("ended its turn", 0.99),
}
"""What is counted, how the table names it, and the share that is wanted."""


@dataclass(frozen=True)
class Judged:
    """One answer. `verdicts` by measure; a case counts in several."""

    ask: str
    answer: Answer
    verdicts: Mapping[str, bool]
    wanted: str

    @property
    def right(self) -> bool:
        return all(self.verdicts.values())


@dataclass
class Count:
    right: int = 0
    asked: int = 0

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else 0.0


def count(judged: Sequence[Judged]) -> dict[str, Count]:
    """Right and asked for every measure that occurs, in the order of MEASURES."""
    counts = {name: Count() for name in MEASURES}
    for item in judged:
        for name, verdict in item.verdicts.items():
            counts[name].asked += 1
            counts[name].right += verdict
    return {name: one for name, one in counts.items() if one.asked}


def judge(
    asker: Asker,
    cases: CaseSet,
    kinds: Sequence[str],
    on_case: Callable[[Judged], object] = lambda _: None,
) -> list[Judged]:
    """Ask every case of `kinds`. `on_case` is told of each answer, for a progress bar."""
    judged = []
    for item in _judgements(asker, cases, kinds):
        judged.append(item)
        on_case(item)
    return judged


def number_of_cases(cases: CaseSet, kinds: Sequence[str]) -> int:
    """How many times `judge` calls `on_case`."""
    sizes = {
        "help": len(cases.help),
        "tools": len(cases.tool_cases) + len(cases.results),
        "json": len(cases.json),
    }
    return sum(sizes[kind] for kind in kinds)


def _judgements(asker: Asker, cases: CaseSet, kinds: Sequence[str]) -> Iterator[Judged]:
    if "help" in kinds:
        yield from (_help(asker, case) for case in cases.help)
    if "tools" in kinds:
        yield from (_tools(asker, case) for case in cases.tool_cases)
        yield from (_result(asker, case) for case in cases.results)
    if "json" in kinds:
        yield from (_json(asker, case) for case in cases.json)


def _help(asker: Asker, case: HelpCase) -> Judged:
    messages: list[Message] = []
    for question in case.before:
        messages.append(Message("user", question))
        messages.append(asker.ask(messages).turn)
    answer = asker.ask([*messages, Message("user", case.ask)])
    measure = "out-of-scope" if case.fact == OUT_OF_SCOPE else "follow-up" if case.before else "help"
    verdicts = {measure: not case.missing(answer.text), "ended": answer.ended}
    ask = " / ".join((*case.before, case.ask))
    return Judged(ask, answer, verdicts, f"{case.fact}: {', '.join(case.terms)}")


def _tools(asker: Asker, case: ToolCase) -> Judged:
    answer = asker.ask([Message("user", case.ask)], [as_tool(tool) for tool in case.tools])
    called = [(call.name, _parsed(call.arguments)) for call in answer.calls]
    wanted = [(name, dict(arguments)) for name, arguments in case.calls]
    names_right = sorted(name for name, _ in called) == sorted(name for name, _ in wanted)
    verdicts = {"tool": names_right, "ended": answer.ended}
    if wanted:
        verdicts["arguments"] = names_right and _same_calls(called, wanted)
    else:
        verdicts["no-tool"] = not called
    return Judged(case.ask, answer, verdicts, json.dumps(wanted, ensure_ascii=False))


def _result(asker: Asker, case: ResultCase) -> Judged:
    call = ToolCall("call_0", case.tool.name, json.dumps(case.arguments, ensure_ascii=False))
    messages = (
        Message("user", case.ask),
        Message("assistant", "", (call,)),
        Message("tool", case.result, tool_call_id=call.id),
    )
    answer = asker.ask(messages, [as_tool(case.tool)])
    told = not answer.calls and all(text.lower() in answer.text.lower() for text in case.must_contain)
    return Judged(
        f"{case.ask} -> {case.result}",
        answer,
        {"result": told, "ended": answer.ended},
        ", ".join(case.must_contain),
    )


def _json(asker: Asker, case: JsonCase) -> Judged:
    schema = json.dumps(case.schema, ensure_ascii=False)
    answer = asker.ask([Message("user", case.ask)], answer_format=JsonFormat(schema))
    value = _parsed(answer.text)
    fits = isinstance(value, dict) and _fits(value, case.schema)
    right = fits and _same(value, dict(case.expected))
    verdicts = {"json-valid": fits, "json": right, "ended": answer.ended}
    return Judged(case.ask, answer, verdicts, json.dumps(case.expected, ensure_ascii=False))


def as_tool(tool: CaseTool) -> Tool:
    """The tool as it is offered to the engine."""
    return Tool(tool.name, tool.description, json.dumps(tool.parameters, ensure_ascii=False))


def _same_calls(called: list[tuple[str, Any]], wanted: list[tuple[str, dict[str, Any]]]) -> bool:
    """The same calls, in any order."""
    left = list(called)
    for name, arguments in wanted:
        match = next((one for one in left if one[0] == name and _same(one[1], arguments)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _same(value: Any, wanted: Any) -> bool:
    """Equal as JSON: 2 is 2.0, but true is not 1."""
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(_same(value[key], wanted[key]) for key in wanted)
        )
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _fits(value: dict[str, Any], schema: Mapping[str, Any]) -> bool:
    """Whether the object fits the schema of a case: flat, with types, enums and required keys."""
    properties = schema["properties"]
    if not set(schema.get("required", ())) <= value.keys() <= properties.keys():
        return False
    return all(
        type(item) in _TYPES[properties[key]["type"]]
        and ("enum" not in properties[key] or item in properties[key]["enum"])
        for key, item in value.items()
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
