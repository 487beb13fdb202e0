"""Tools, calls and the format of the answer, as OpenAI's bodies have them.

Whether a grammar can hold a schema is the engine's question; here it only has to be one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from localphi.chat import JsonFormat, NamedTool, Tool, ToolCall, ToolChoice
from localphi.engine.jsontext import is_json
from localphi.engine.schema_rules import MAX_SCHEMA_BYTES
from localphi.errors import InvalidRequest
from localphi.routes.fields import Body, wrong

MAX_TOOLS = 128
MAX_CALLS_OF_A_TURN = 128
MAX_ID_CHARS = 256
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NO_PARAMETERS = {"type": "object", "properties": {}}
_FORMATS = 'one of {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {…}}'
_CHOICES = 'one of "auto", "required", "none", or an object that names a function'


ReadFunction = Callable[[Any, str], tuple[dict[str, Any], str]]
"""Finds what describes a function in a tool, a call or a choice, and says where that stands."""


def parse_tools(fields: Body, read: ReadFunction | None = None) -> tuple[Tool, ...]:
    """read: where the description of a tool is, if not in its `function`."""
    read = read or _nested
    tools = fields.get("tools")
    if tools is None:
        return ()
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        raise wrong("tools", f"a list of at most {MAX_TOOLS} tools", tools)
    parsed: dict[str, Tool] = {}
    for number, entry in enumerate(tools):
        function, where = read(entry, f"tools[{number}]")
        tool = _tool(function, where)
        if tool.name in parsed:
            param = f"{where}.name"
            raise InvalidRequest(f"'{param}' is '{tool.name}', like the name of another tool.", param)
        parsed[tool.name] = tool
    return tuple(parsed.values())


def _tool(function: Body, where: str) -> Tool:
    description = function.get("description")
    if not isinstance(description, str | None):
        raise wrong(f"{where}.description", "a text", description)
    strict = function.get("strict")
    if not isinstance(strict, bool | None):
        raise wrong(f"{where}.strict", "true or false", strict)
    parameters = function.get("parameters")
    schema = schema_text(_NO_PARAMETERS if parameters is None else parameters, f"{where}.parameters")
    return Tool(_name(function.get("name"), f"{where}.name"), description or "", schema)


def _nested(entry: Any, where: str) -> tuple[dict[str, Any], str]:
    """The `function` of a tool, a call or a choice."""
    if not isinstance(entry, dict):
        raise wrong(where, 'an object {"type": "function", "function": {…}}', entry)
    if entry.get("type") != "function":
        raise wrong(f"{where}.type", '"function"', entry.get("type"))
    function = entry.get("function")
    if not isinstance(function, dict):
        raise wrong(f"{where}.function", "an object with a name", function)
    return function, f"{where}.function"


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise wrong(where, "1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'", name)
    return name


def schema_text(schema: Any, where: str) -> str:
    if not isinstance(schema, dict):
        raise wrong(where, "a JSON schema (an object)", schema)
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    except (ValueError, RecursionError):
        raise wrong(where, "a JSON schema of finite numbers that is not nested too deeply", schema) from None
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_SCHEMA_BYTES:
        raise InvalidRequest(f"'{where}' has {size} bytes, but may have {MAX_SCHEMA_BYTES}.", where)
    return text


def parse_tool_choice(fields: Body, tools: Sequence[Tool], read: ReadFunction | None = None) -> ToolChoice:
    """read: where the name of a choice is, if not in its `function`."""
    read = read or _nested
    choice = fields.get("tool_choice")
    if choice in (None, "auto"):
        return "auto"
    if choice == "none":
        return "none"
    if choice != "required" and not isinstance(choice, dict):
        raise wrong("tool_choice", _CHOICES, choice)
    named = None if choice == "required" else _named(choice, read)
    if not tools:
        raise InvalidRequest("'tool_choice' wants a call, but there are no 'tools'.", "tool_choice")
    if named is None:
        return "required"
    name, param = named
    if all(tool.name != name for tool in tools):
        raise InvalidRequest(f"'{param}' is '{name}', but no tool has that name.", param)
    return NamedTool(name)


def _named(choice: Any, read: ReadFunction) -> tuple[str, str]:
    """The name of the tool that was chosen, and where it stands."""
    function, where = read(choice, "tool_choice")
    return _name(function.get("name"), f"{where}.name"), f"{where}.name"


def parse_answer_format(fields: Body) -> JsonFormat | None:
    wanted = fields.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonFormat()
    if kind != "json_schema":
        raise wrong("response_format", _FORMATS, wanted)
    schema = wanted.get("json_schema")
    if not isinstance(schema, dict):
        raise wrong("response_format.json_schema", "an object with a schema", schema)
    return JsonFormat(schema_text(schema.get("schema"), "response_format.json_schema.schema"))


def parse_calls(message: Body, where: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant turn."""
    calls = message.get("tool_calls")
    if calls is None:
        return ()
    if message["role"] != "assistant" and calls:
        raise InvalidRequest(f"'{where}' stands in a turn of another role than assistant.", where)
    if not isinstance(calls, list) or len(calls) > MAX_CALLS_OF_A_TURN:
        raise wrong(where, f"a list of at most {MAX_CALLS_OF_A_TURN} calls", calls)
    parsed: dict[str, ToolCall] = {}
    for number, entry in enumerate(calls):
        call = _call(entry, f"{where}[{number}]")
        if call.id in parsed:
            param = f"{where}[{number}].id"
            raise InvalidRequest(f"'{param}' is the id of another call, too.", param)
        parsed[call.id] = call
    return tuple(parsed.values())


def _call(entry: Any, where: str) -> ToolCall:
    function, inside = _nested(entry, where)
    return ToolCall(call_id(entry.get("id"), f"{where}.id"), *name_and_arguments(function, inside))


def name_and_arguments(function: Body, where: str) -> tuple[str, str]:
    """Of a call that a conversation tells of."""
    arguments = function.get("arguments")
    if arguments == "":  # how some clients write no arguments
        arguments = "{}"
    if not isinstance(arguments, str) or not (arguments.strip().startswith("{") and is_json(arguments)):
        raise wrong(f"{where}.arguments", "the JSON text of an object", arguments)
    return _name(function.get("name"), f"{where}.name"), arguments


def parse_tool_call_id(message: Body, where: str, calls: Sequence[ToolCall]) -> str | None:
    """The call that a tool turn answers: one of `calls`, those of the assistant turn before it."""
    if message["role"] != "tool":
        return None
    return answered(message.get("tool_call_id"), where, calls)


def answered(value: Any, where: str, calls: Sequence[ToolCall]) -> str:
    """The id of one of `calls`, to which a result belongs."""
    found = call_id(value, where)
    if all(call.id != found for call in calls):
        raise InvalidRequest(
            f"'{where}' is {json.dumps(found)}, but the turn before has no such call.", where
        )
    return found


def call_id(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_CHARS:
        raise wrong(where, f"the id of a call, of 1 to {MAX_ID_CHARS} characters", value)
    return value
