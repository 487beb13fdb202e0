"""The grammar that holds an answer to the tools and the format that were asked for, in llguidance's Lark.

White space is fixed, for a weak model would wander in it. The tokens around calls are named by id, because
llguidance knows by name only tokens that tokenizer.json marks as special, which Phi-4-mini's are not. Text is
everything without a control token in it; so a token between two rules can never be read as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from localphi.chat import ChatRequest, JsonFormat, NamedTool, Tool
from localphi.engine.calls import LIST_OPENING, Markers
from localphi.engine.jsontext import quote
from localphi.engine.schema_rules import Rules, SchemaRules, literal
from localphi.errors import InvalidRequest

MAX_CALLS = 8

_ANY_OBJECT = '{"type": "object"}'
Check = Callable[[str], None]
"""Raises RuntimeError for a grammar that cannot be compiled."""


def grammar_for(
    request: ChatRequest, markers: Markers | None, control: Sequence[str], end_ids: Collection[int]
) -> str | None:
    """The grammar of a request's answer, None where any text will do.

    markers: the tokens around calls, None for a model without. control: tokens that must not stand in text.
    end_ids: tokens that end an answer. Left alone, llguidance lets only one of them end a text, <|endoftext|>
    for the Phis; the one that they are trained to end their turns with is another.
    Raises InvalidRequest, naming the tool or the format whose schema cannot be held.
    """
    if not request.guided or not (request.tools or request.answer_format):
        return None
    try:
        return _grammar(request, markers, control, end_ids)
    except OverflowError:
        raise InvalidRequest("'tools' cannot be used: there is too much in their schemas.", "tools") from None


def _grammar(
    request: ChatRequest, markers: Markers | None, control: Sequence[str], end_ids: Collection[int]
) -> str:
    rules = Rules()
    end = rules.add(" | ".join(f"<[{token}]>" for token in sorted(end_ids)))
    starts: list[str] = []
    if not may_call(request):
        starts.append(f"{_text(rules, request, markers, control)} {end}?")
    else:
        calls = _calls(rules, request, markers)
        starts.append(calls)
        if request.tool_choice == "auto":
            text = _text(rules, request, markers, control)
            starts.append(f"{text} {end}?")
            if markers and not request.answer_format:
                starts.append(f"{text} {calls}")
    return f"start: {' | '.join(starts)}\n{rules}"


def may_call(request: ChatRequest) -> bool:
    return bool(request.tools) and request.tool_choice != "none"


def check_grammar(request: ChatRequest, markers: Markers | None, grammar: str, check: Check) -> None:
    """Raises InvalidRequest, naming the schema at fault, when the runtime cannot compile the grammar."""
    try:
        check(grammar)
        return
    except RuntimeError as error:
        whole = error
    for number, tool in enumerate(request.tools):
        rules = Rules()
        start = _arguments(rules, number, tool)
        _check_alone(f"start: {start}\n{rules}", _tool_param(number), check)
    param = _format_param(request.answer_format) if request.answer_format else "tools"
    raise InvalidRequest(f"'{param}' cannot be used: {_reason(whole)}.", param)


def _check_alone(grammar: str, param: str, check: Check) -> None:
    try:
        check(grammar)
    except RuntimeError as error:
        raise InvalidRequest(f"'{param}' cannot be used: {_reason(error)}.", param) from None


def _reason(error: RuntimeError) -> str:
    """The compiler's own words, without the grammar it quotes behind them."""
    return str(error).strip().splitlines()[0][:200].rstrip(".")


def _text(rules: Rules, request: ChatRequest, markers: Markers | None, control: Sequence[str]) -> str:
    if request.answer_format:
        return _format(rules, request.answer_format)
    if markers or not may_call(request):
        never = f"(.|\\n)*({'|'.join(map(_in_regex, control))})(.|\\n)*"
    else:
        never = f"{_in_regex(LIST_OPENING)}(.|\\n)*"
    return rules.add_terminal(f"/(.|\\n)+/ & ~/{never}/")


def _in_regex(text: str) -> str:
    return re.escape(text).replace("/", "\\/")


def _format(rules: Rules, answer_format: JsonFormat) -> str:
    schema = _ANY_OBJECT if answer_format.schema is None else answer_format.schema
    return SchemaRules(rules, schema, _format_param(answer_format)).any_text()


def _format_param(answer_format: JsonFormat) -> str:
    return "response_format" if answer_format.schema is None else "response_format.json_schema.schema"


def _calls(rules: Rules, request: ChatRequest, markers: Markers | None) -> str:
    choice = request.tool_choice
    offered = [
        rules.add(f"{literal(_head(tool))} {_arguments(rules, number, tool)} {literal('}')}")
        for number, tool in enumerate(request.tools)
        if not isinstance(choice, NamedTool) or choice.name == tool.name
    ]
    call = rules.add(" | ".join(offered))
    several = request.parallel_tool_calls and not isinstance(choice, NamedTool)
    more = f'(", " {call}){{0,{MAX_CALLS - 1}}} ' if several else ""
    calls = f'"[" {call} {more}"]"'
    return rules.add(f"<[{markers.opening}]> {calls} <[{markers.closing}]>" if markers else calls)


def _head(tool: Tool) -> str:
    return f'{{"name": {quote(tool.name)}, "arguments": '


def _arguments(rules: Rules, number: int, tool: Tool) -> str:
    return SchemaRules(rules, tool.parameters, _tool_param(number)).arguments()


def _tool_param(number: int) -> str:
    return f"tools[{number}].function.parameters"
