"""OpenAI's chat completion body, parsed once into values that cannot be wrong.

Fields that nothing here can honour, but that would change the answer, are refused by name. The others (hints,
bookkeeping such as `user` or `metadata`, and what nobody knows) are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localphi.chat import ROLES, ChatRequest, Message, Role, Sampling
from localphi.errors import InvalidRequest, UnsupportedParameter
from localphi.models.manifest import Manifest

MAX_MESSAGES = 1024
MAX_STOPS = 16
MAX_STOP_CHARS = 1024
MAX_SEED = 2**31 - 1

_Body = Mapping[str, Any]

# field, values that mean "not used", what to do instead
_UNSUPPORTED: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("tools", (None, []), "Leave it out; the answer is text only."),
    ("functions", (None, []), "Leave it out; the answer is text only."),
    ("tool_choice", (None, "none", "auto"), "Leave it out; there are no tools to choose from."),
    ("response_format", (None, {"type": "text"}), "Leave it out; the answer is plain text."),
    ("logprobs", (None, False), "Leave it out."),
    ("top_logprobs", (None, 0), "Leave it out."),
    ("logit_bias", (None, {}), "Leave it out."),
    ("presence_penalty", (None, 0), "Leave it out, or set it to 0."),
    ("frequency_penalty", (None, 0), "Leave it out, or set it to 0."),
    ("repetition_penalty", (None, 1), "Leave it out, or set it to 1."),
    ("min_p", (None, 0), "Leave it out, or set it to 0."),
    ("min_tokens", (None, 0), "Leave it out, or set it to 0."),
    ("n", (None, 1), "Send one request per answer."),
    ("best_of", (None, 1), "Send one request per answer."),
    ("function_call", (None, "none", "auto"), "Leave it out; there are no functions to call."),
    ("modalities", (None, ["text"]), "Leave it out; the answer is text only."),
    ("audio", (None,), "Leave it out; the answer is text only."),
    ("reasoning_effort", (None, "none"), "Leave it out; the model answers at once."),
    ("grammar", (None,), "Leave it out; the answer is plain text."),
    ("guided_json", (None,), "Leave it out; the answer is plain text."),
)


@dataclass(frozen=True)
class ChatCompletionBody:
    """A valid request on the wire, still without the model's defaults."""

    model: str | None
    stream: bool
    include_usage: bool
    fields: _Body

    def to_request(self, manifest: Manifest) -> ChatRequest:
        """The request for this model, its sampling defaults filled in. Raises InvalidRequest."""
        return ChatRequest(
            messages=_messages(self.fields),
            sampling=_sampling(self.fields, manifest),
            max_tokens=_max_tokens(self.fields, manifest.context_length),
            stop=_stop(self.fields),
        )


def parse_body(data: bytes) -> ChatCompletionBody:
    """What can be checked without knowing the model. Raises InvalidRequest."""
    fields = _json_object(data)
    for name, unused, advice in _UNSUPPORTED:
        if not any(_same(fields.get(name), value) for value in unused):
            raise UnsupportedParameter(name, advice)
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise _wrong("model", "the id of a model", model)
    return ChatCompletionBody(
        model=model or None,
        stream=_boolean(fields, "stream"),
        include_usage=_include_usage(fields),
        fields=fields,
    )


def _same(value: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest("The body is not usable JSON: it is nested too deeply.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"The body must be a JSON object, but is {_kind(fields)}.")
    return fields


def _messages(fields: _Body) -> tuple[Message, ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise _wrong("messages", "a list of messages", messages)
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidRequest(
            f"'messages' must hold 1 to {MAX_MESSAGES} messages, but holds {len(messages)}.", "messages"
        )
    return tuple(_message(message, f"messages[{number}]") for number, message in enumerate(messages))


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise _wrong(where, "an object with role and content", message)
    if message.get("tool_calls"):
        raise UnsupportedParameter(
            f"{where}.tool_calls", "Leave it out; tools are not called by this server."
        )
    return Message(_role(message.get("role"), f"{where}.role"), _content(message, f"{where}.content"))


def _role(role: Any, where: str) -> Role:
    if role == "developer":
        return "system"
    for known in ROLES:
        if role == known:
            return known
    raise _wrong(where, f"one of {', '.join(ROLES)}, developer", role)


def _content(message: _Body, where: str) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None and message["role"] == "assistant":
        return ""
    if not isinstance(content, list):
        raise _wrong(where, "a text or a list of text parts", content)
    return "".join(_part(part, f"{where}[{number}]") for number, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise _wrong(where, 'a text part {"type": "text", "text": "…"}', part)
    return str(part["text"])


def _sampling(fields: _Body, manifest: Manifest) -> Sampling:
    defaults = manifest.sampling
    top_k = _integer(fields, "top_k", 0, 1_000_000)
    return Sampling(
        temperature=_number(fields, "temperature", defaults.temperature, 0, 2),
        top_p=_number(fields, "top_p", defaults.top_p, 0, 1, above_low=True),
        top_k=defaults.top_k if top_k is None else top_k,
        seed=_integer(fields, "seed", 0, MAX_SEED),
    )


def _max_tokens(fields: _Body, context_length: int) -> int | None:
    """`max_completion_tokens` is OpenAI's newer name and wins when both are there."""
    newer = _integer(fields, "max_completion_tokens", 1, context_length)
    older = _integer(fields, "max_tokens", 1, context_length)
    return newer if newer is not None else older


def _stop(fields: _Body) -> tuple[str, ...]:
    stop = fields.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise _wrong("stop", f"a text or a list of at most {MAX_STOPS} texts", stop)
    for text in stops:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARS:
            raise _wrong("stop", f"texts of 1 to {MAX_STOP_CHARS} characters", text)
    return tuple(stops)


def _include_usage(fields: _Body) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise _wrong("stream_options", "an object", options)
    return _boolean(options, "include_usage")


def _boolean(fields: _Body, name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _integer(fields: _Body, name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(name, f"a whole number from {low} to {high}", value)
    return value


def _number(
    fields: _Body, name: str, default: float, low: float, high: float, *, above_low: bool = False
) -> float:
    value = fields.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (above_low and value == low):
        raise _wrong(
            name,
            f"a number {'above' if above_low else 'from'} {low} {'up ' if above_low else ''}to {high}",
            value,
        )
    return float(value)


def _wrong(param: str, wanted: str, got: Any) -> InvalidRequest:
    return InvalidRequest(f"'{param}' must be {wanted}, but is {_kind(got)}.", param)


def _kind(value: Any) -> str:
    """A short, safe picture of what came: the value itself when it is small."""
    if value is None:
        return "missing"
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else ""
    if shown and len(shown) <= 60:
        return shown
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a long text"}
    return names.get(type(value), "a value of another kind")
