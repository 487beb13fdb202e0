"""The body of /v1/responses, parsed into the same request that a chat completion becomes.

Nothing is stored: each request brings its whole conversation, as items. `store` may say what it wants, for
clients send it without being asked; the answer says that it is false.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from localphi.chat import ROLES, ChatRequest, JsonFormat, Message, Role, ToolCall
from localphi.errors import ContextLengthExceeded, InvalidRequest, UnsupportedParameter
from localphi.models.manifest import Manifest
from localphi.routes.fields import Body, boolean, integer, kind, wrong
from localphi.routes.schema import (
    MAX_MESSAGES,
    MAX_TOP_LOGPROBS,
    Refusal,
    parse_adapter,
    parse_model,
    refuse,
    sampling,
    stop_texts,
)
from localphi.routes.tools import (
    MAX_CALLS_OF_A_TURN,
    answered,
    call_id,
    name_and_arguments,
    parse_tool_choice,
    parse_tools,
    schema_text,
)

LOGPROBS = "message.output_text.logprobs"
INCLUDABLE = (
    LOGPROBS,
    "reasoning.encrypted_content",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "web_search_call.action.sources",
    "web_search_call.results",
)
TEXT_PARTS = ("input_text", "output_text")
MAX_METADATA = 16

_STORED = "Nothing is stored here: send the whole conversation as 'input'."
UNSUPPORTED: tuple[Refusal, ...] = (
    ("previous_response_id", (None,), _STORED),
    ("conversation", (None,), _STORED),
    ("prompt", (None,), "Send 'instructions' and 'input'; no prompts are kept here."),
    ("background", (None, False), "Wait for the answer, or stream it."),
    ("truncation", (None, "disabled"), "Shorten the input yourself."),
    ("context_management", (None, []), "Shorten the input yourself."),
    ("reasoning", (None, {}, {"effort": "none"}), "Leave it out; the model answers at once."),
    ("moderation", (None,), "Leave it out; nothing here moderates."),
    ("n", (None, 1), "Send one request per answer, or use /v1/chat/completions."),
    ("messages", (None,), "Use 'input'."),
    ("max_tokens", (None,), "Use 'max_output_tokens'."),
    ("max_completion_tokens", (None,), "Use 'max_output_tokens'."),
    ("response_format", (None, {"type": "text"}), "Use 'text' with a 'format'."),
)
_FORMATS = 'one of {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "schema": {…}}'
_TOOL_PARAMETERS = re.compile(r"\b(tools\[\d+\])\.function\.parameters\b")


@dataclass(frozen=True)
class ResponsesBody:
    """A valid request on the wire, still without the model's defaults."""

    model: str | None
    stream: bool
    fields: Body

    def to_request(self, manifest: Manifest) -> ChatRequest:
        """The request for this model, its sampling defaults filled in. Raises InvalidRequest."""
        fields = self.fields
        tools = parse_tools(fields, _flat)
        return ChatRequest(
            messages=_messages(fields),
            sampling=sampling(fields, manifest),
            max_tokens=integer(fields, "max_output_tokens", 1, manifest.context_length),
            stop=stop_texts(fields),
            tools=tools,
            tool_choice=parse_tool_choice(fields, tools, _flat),
            parallel_tool_calls=boolean(fields, "parallel_tool_calls", default=True),
            answer_format=_answer_format(fields),
            top_logprobs=_top_logprobs(fields),
            adapter=parse_adapter(fields),
        )

    def echo(self, asked: ChatRequest) -> dict[str, Any]:
        """What the answer tells of the request that it answers."""
        fields = self.fields
        text = fields.get("text") or {}
        return {
            "background": False,
            "instructions": fields.get("instructions"),
            "max_output_tokens": asked.max_tokens,
            "metadata": fields.get("metadata") or {},
            "parallel_tool_calls": asked.parallel_tool_calls,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": asked.sampling.temperature,
            "text": {"format": text.get("format") or {"type": "text"}},
            "tool_choice": fields.get("tool_choice") or "auto",
            "tools": [_echoed_tool(tool) for tool in fields.get("tools") or ()],
            "top_logprobs": asked.top_logprobs or 0,
            "top_p": asked.sampling.top_p,
            "truncation": "disabled",
        }


def responses_body(fields: Body) -> ResponsesBody:
    """What can be checked without knowing the model. Raises InvalidRequest."""
    refuse(fields, UNSUPPORTED)
    boolean(fields, "store", default=True)
    _check_metadata(fields)
    return ResponsesBody(parse_model(fields), boolean(fields, "stream"), fields)


def in_words_of_responses(error: InvalidRequest) -> InvalidRequest:
    """The engine names the fields of chat completions; the same error with the names that were sent."""
    if isinstance(error, ContextLengthExceeded):
        return ContextLengthExceeded(error.prompt_tokens, error.context_length, "input")
    if isinstance(error, UnsupportedParameter):
        return UnsupportedParameter(*map(_field_names, error.args))
    return InvalidRequest(_field_names(error.message), error.param and _field_names(error.param))


def _field_names(text: str) -> str:
    text = text.replace("response_format.json_schema.schema", "text.format.schema")
    return _TOOL_PARAMETERS.sub(r"\1.parameters", text.replace("response_format", "text.format"))


def _check_metadata(fields: Body) -> None:
    metadata = fields.get("metadata")
    if metadata is None:
        return
    good = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    if not good or len(metadata) > MAX_METADATA:
        raise wrong("metadata", f"an object of at most {MAX_METADATA} texts", metadata)


def _top_logprobs(fields: Body) -> int | None:
    """Asking for likely tokens asks for log probabilities, too."""
    include = fields.get("include")
    wanted = [] if include is None else include
    if not isinstance(wanted, list) or not all(name in INCLUDABLE for name in wanted):
        raise wrong("include", f"a list of {', '.join(INCLUDABLE)}", include)
    top = integer(fields, "top_logprobs", 0, MAX_TOP_LOGPROBS) or 0
    return top if top or LOGPROBS in wanted else None


def _answer_format(fields: Body) -> JsonFormat | None:
    text = fields.get("text")
    if not isinstance(text, dict | None):
        raise wrong("text", "an object with a format", text)
    wanted = (text or {}).get("format")
    if wanted is None:
        return None
    kind_of_format = wanted.get("type") if isinstance(wanted, dict) else None
    if kind_of_format == "text":
        return None
    if kind_of_format == "json_object":
        return JsonFormat()
    if kind_of_format != "json_schema":
        raise wrong("text.format", _FORMATS, wanted)
    return JsonFormat(schema_text(wanted.get("schema"), "text.format.schema"))


def _flat(entry: Any, where: str) -> tuple[dict[str, Any], str]:
    """A function as this API describes it: in the tool or the choice itself."""
    if not isinstance(entry, dict):
        raise wrong(where, 'an object {"type": "function", "name": "…"}', entry)
    if entry.get("type") != "function":
        raise UnsupportedParameter(
            f"{where}.type", f'It is {kind(entry.get("type"))}, but only "function" can be called here.'
        )
    return entry, where


def _echoed_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", **{name: tool.get(name) for name in names}}


def _messages(fields: Body) -> tuple[Message, ...]:
    conversation = _Conversation()
    instructions = fields.get("instructions")
    if not isinstance(instructions, str | None):
        raise wrong("instructions", "a text", instructions)
    if instructions:
        conversation.say("system", instructions)
    given = fields.get("input")
    if isinstance(given, str):
        conversation.say("user", given)
        return tuple(conversation.messages)
    if not isinstance(given, list):
        raise wrong("input", "a text or a list of items", given)
    if not 1 <= len(given) <= MAX_MESSAGES:
        raise InvalidRequest(f"'input' must hold 1 to {MAX_MESSAGES} items, but holds {len(given)}.", "input")
    for number, item in enumerate(given):
        conversation.add(item, f"input[{number}]")
    return tuple(conversation.messages)


class _Conversation:
    """Puts items together into turns: what the model said and the calls behind it are one."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._calls: tuple[ToolCall, ...] = ()  # of the last turn of the model

    def say(self, role: Role, text: str) -> None:
        self._calls = ()
        self.messages.append(Message(role, text))

    def add(self, item: Any, where: str) -> None:
        if not isinstance(item, dict):
            raise wrong(where, "an item (an object)", item)
        match item.get("type"):
            case None | "message":
                role = _role(item.get("role"), f"{where}.role")
                self.say(role, _text(item.get("content"), f"{where}.content"))
            case "function_call":
                self._call(item, where)
            case "function_call_output":
                answers = answered(item.get("call_id"), f"{where}.call_id", self._calls)
                text = _text(item.get("output"), f"{where}.output")
                self.messages.append(Message("tool", text, (), answers))
            case other:
                wanted = "one of message, function_call, function_call_output"
                raise wrong(f"{where}.type", wanted, other)

    def _call(self, item: Body, where: str) -> None:
        called = call_id(item.get("call_id"), f"{where}.call_id")
        call = ToolCall(called, *name_and_arguments(item, where))
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "assistant":
            self.messages.append(Message("assistant", ""))
            self._calls = ()
        self._check_room(call, where)
        self._calls = (*self._calls, call)
        self.messages[-1] = replace(self.messages[-1], tool_calls=self._calls)

    def _check_room(self, call: ToolCall, where: str) -> None:
        if any(call.id == other.id for other in self._calls):
            param = f"{where}.call_id"
            raise InvalidRequest(f"'{param}' is the id of another call, too.", param)
        if len(self._calls) == MAX_CALLS_OF_A_TURN:
            raise InvalidRequest(
                f"'{where}' is one call too many: a turn may have {MAX_CALLS_OF_A_TURN}.", where
            )


def _role(role: Any, where: str) -> Role:
    if role == "developer":
        return "system"
    for known in ROLES:
        if role == known and known != "tool":
            return known
    raise wrong(where, "one of user, assistant, system, developer", role)


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(where, "a text or a list of text parts", content)
    return "".join(_part(part, f"{where}[{number}]") for number, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    if isinstance(part, dict):
        text = part.get("refusal") if part.get("type") == "refusal" else part.get("text")
        if part.get("type") in (*TEXT_PARTS, "refusal") and isinstance(text, str):
            return text
    raise wrong(where, 'a text part {"type": "input_text", "text": "…"}', part)
