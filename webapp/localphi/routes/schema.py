"""OpenAI's bodies for chat and text completions, parsed once into values that cannot be wrong.

Fields that nothing here can honour, but that would change the answer, are refused by name. The others (hints,
bookkeeping such as `user` or `metadata`, and what nobody knows) are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localphi.chat import ROLES, ChatRequest, Message, RawPrompt, Role, Sampling, ToolCall
from localphi.errors import InvalidRequest, UnsupportedParameter
from localphi.models.adapters import MAX_NAME_CHARS as MAX_ADAPTER_CHARS
from localphi.models.manifest import Manifest
from localphi.routes.fields import (
    Body,
    boolean,
    integer,
    is_token_id,
    json_object,
    number,
    optional_token_ids,
    wrong,
)
from localphi.routes.survey import note
from localphi.routes.tools import (
    parse_answer_format,
    parse_calls,
    parse_tool_call_id,
    parse_tool_choice,
    parse_tools,
)

MAX_MODEL_CHARS = 256
MAX_MESSAGES = 1024
MAX_STOPS = 16
MAX_STOP_CHARS = 1024
MAX_SEED = 2**31 - 1
MAX_PENALTY = 2
MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.01, 10  # logits are divided by it, in float32
MAX_BIAS = 100
MAX_BIASED_TOKENS = 1024
MAX_TOP_LOGPROBS = 20
MAX_TOKEN_DIGITS = 9
MAX_ANSWERS = 8

_ADAPTER = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": MAX_ADAPTER_CHARS,
    "description": "Name of a LoRA adapter of the model; left out: the model as it is.",
}
_BEGUN = (
    "Tokens that the answer begins with, chosen elsewhere: it goes on after them, and is told from the first "
    "of them. Without `tools`, `response_format`, `logprobs` and `seed`, and for one answer."
)
Refusal = tuple[str, tuple[Any, ...], str]
"""A field, values that mean "not used", what to do instead."""

UNSUPPORTED: tuple[Refusal, ...] = (
    ("functions", (None, []), "Use 'tools', which took its place."),
    ("min_tokens", (None, 0), "Leave it out, or set it to 0."),
    ("function_call", (None, "none", "auto"), "Use 'tool_choice', which took its place."),
    ("modalities", (None, ["text"]), "Leave it out; the answer is text only."),
    ("audio", (None,), "Leave it out; the answer is text only."),
    ("reasoning_effort", (None, "none"), "Leave it out; the model answers at once."),
    ("grammar", (None,), "Use 'response_format' with a JSON schema."),
    ("guided_json", (None,), "Use 'response_format' with a JSON schema."),
)
TEXT_MAX_TOKENS = 16  # of a text completion that does not say how long it may become
_IN_A_CHAT = "Use /v1/chat/completions, which has it."
TEXT_UNSUPPORTED: tuple[Refusal, ...] = (
    *UNSUPPORTED,
    ("suffix", (None, ""), "Leave it out; the models here only write forwards."),
    ("echo", (None, False), "Put the prompt before the answer yourself."),
    ("logprobs", (None,), "Leave it out."),
    ("top_logprobs", (None, 0), "Leave it out."),
    ("messages", (None,), _IN_A_CHAT),
    ("tools", (None, []), _IN_A_CHAT),
    ("tool_choice", (None, "none", "auto"), _IN_A_CHAT),
    ("response_format", (None, {"type": "text"}), _IN_A_CHAT),
)


@dataclass(frozen=True)
class _CompletionBody:
    """A valid request on the wire, still without the model's defaults.

    n: how many answers are wanted. tells_ids: chunks have the ids of their tokens, in vLLM's words.
    """

    model: str | None
    n: int
    stream: bool
    include_usage: bool
    tells_ids: bool
    fields: Body

    @property
    def tells_progress(self) -> bool:
        """Only a stream can tell, so a whole answer passes the wish over."""
        return boolean(self.fields, "return_progress") and self.stream


@dataclass(frozen=True)
class ChatCompletionBody(_CompletionBody):
    def to_request(self, manifest: Manifest) -> ChatRequest:
        """The request for this model, its sampling defaults filled in. Raises InvalidRequest."""
        tools = parse_tools(self.fields)
        return ChatRequest(
            messages=_messages(self.fields),
            sampling=sampling(self.fields, manifest),
            max_tokens=_max_tokens(self.fields, manifest.context_length),
            stop=stop_texts(self.fields),
            tools=tools,
            tool_choice=parse_tool_choice(self.fields, tools),
            parallel_tool_calls=boolean(self.fields, "parallel_tool_calls", default=True),
            answer_format=parse_answer_format(self.fields),
            top_logprobs=_top_logprobs(self.fields),
            tells_progress=self.tells_progress,
            ignore_end=boolean(self.fields, "ignore_eos"),
            adapter=parse_adapter(self.fields),
            begun_ids=_begun_ids(self.fields, self.n, manifest.context_length),
        )


@dataclass(frozen=True)
class TextCompletionBody(_CompletionBody):
    def to_request(self, manifest: Manifest) -> ChatRequest:
        """The request for this model, its sampling defaults filled in. Raises InvalidRequest."""
        return ChatRequest(
            RawPrompt(_prompt(self.fields)),
            sampling=sampling(self.fields, manifest),
            max_tokens=_max_tokens(self.fields, manifest.context_length) or TEXT_MAX_TOKENS,
            stop=stop_texts(self.fields),
            tells_progress=self.tells_progress,
            ignore_end=boolean(self.fields, "ignore_eos"),
            adapter=parse_adapter(self.fields),
            begun_ids=_begun_ids(self.fields, self.n, manifest.context_length),
        )


def parse_body(data: bytes) -> ChatCompletionBody:
    """What can be checked without knowing the model. Raises InvalidRequest."""
    return chat_body(json_object(data))


def chat_body(fields: Body) -> ChatCompletionBody:
    refuse(fields, UNSUPPORTED)
    return ChatCompletionBody(**_common(fields))


def text_body(fields: Body) -> TextCompletionBody:
    refuse(fields, TEXT_UNSUPPORTED)
    return TextCompletionBody(**_common(fields))


def _common(fields: Body) -> dict[str, Any]:
    return {
        "model": parse_model(fields),
        "n": _answers(fields),
        "stream": boolean(fields, "stream"),
        "include_usage": _include_usage(fields),
        "tells_ids": boolean(fields, "return_token_ids"),  # only a stream tells; a whole answer has none
        "fields": fields,
    }


def _answers(fields: Body) -> int:
    """`best_of` would throw answers away; it is fine where it does not."""
    n = integer(fields, "n", 1, MAX_ANSWERS) or 1
    best_of = fields.get("best_of")
    if best_of is not None and not _same(best_of, n):
        raise UnsupportedParameter("best_of", f"Leave it out, or give it the value of 'n' ({n}).")
    return n


def parse_model(fields: Body) -> str | None:
    """The model that was asked for, None for the one that answers when none is named."""
    model = fields.get("model")
    if model is not None and not (isinstance(model, str) and len(model) <= MAX_MODEL_CHARS):
        raise wrong("model", f"the id of a model, of at most {MAX_MODEL_CHARS} characters", model)
    return model.partition(":")[0] or None if model else None


def parse_adapter(fields: Body) -> str | None:
    """The LoRA adapter that was asked for, in a field of its own or behind the model: "phi-3:poems"."""
    note(fields, "adapter", _ADAPTER)
    named = fields.get("adapter")
    if named is not None and not (isinstance(named, str) and 1 <= len(named) <= MAX_ADAPTER_CHARS):
        raise wrong("adapter", f"the name of an adapter, of at most {MAX_ADAPTER_CHARS} characters", named)
    _, colon, behind = str(fields.get("model") or "").partition(":")
    if colon and not 1 <= len(behind) <= MAX_ADAPTER_CHARS:
        raise InvalidRequest("Behind the ':' of 'model' there must be the name of an adapter.", "model")
    if behind and named not in (None, behind):
        raise InvalidRequest(f"'model' names the adapter {behind!r}, but 'adapter' {named!r}.", "adapter")
    return named or behind or None


def refuse(fields: Body, refusals: Sequence[Refusal]) -> None:
    for name, unused, advice in refusals:
        if not any(_same(fields.get(name), value) for value in unused):
            raise UnsupportedParameter(name, advice)


def _same(value: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _prompt(fields: Body) -> str | tuple[int, ...]:
    """A text, or token ids. A list that holds one prompt is that prompt."""
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        if len(prompt) > 1:
            raise InvalidRequest(
                f"'prompt' holds {len(prompt)} prompts, but may hold one. Send one request per prompt.",
                "prompt",
            )
        (prompt,) = prompt
    if isinstance(prompt, str) and prompt:
        return prompt
    if isinstance(prompt, list) and prompt and all(map(is_token_id, prompt)):
        return tuple(prompt)
    raise wrong("prompt", "a text or a list of token ids, and not empty", prompt)


def _messages(fields: Body) -> tuple[Message, ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise wrong("messages", "a list of messages", messages)
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidRequest(
            f"'messages' must hold 1 to {MAX_MESSAGES} messages, but holds {len(messages)}.", "messages"
        )
    parsed: list[Message] = []
    calls: tuple[ToolCall, ...] = ()
    for index, entry in enumerate(messages):
        message = _message(entry, f"messages[{index}]", calls)
        if message.role != "tool":
            calls = message.tool_calls
        parsed.append(message)
    return tuple(parsed)


def _message(message: Any, where: str, calls: Sequence[ToolCall]) -> Message:
    """One turn. calls: those of the assistant turn before it, which a tool turn answers."""
    if not isinstance(message, dict):
        raise wrong(where, "an object with role and content", message)
    if message.get("function_call"):
        raise UnsupportedParameter(f"{where}.function_call", "Use 'tool_calls', which took its place.")
    role = _role(message.get("role"), f"{where}.role")
    return Message(
        role,
        _content(message, f"{where}.content"),
        parse_calls(message, f"{where}.tool_calls"),
        parse_tool_call_id(message, f"{where}.tool_call_id", calls),
    )


def _role(role: Any, where: str) -> Role:
    if role == "developer":
        return "system"
    for known in ROLES:
        if role == known:
            return known
    raise wrong(where, f"one of {', '.join(ROLES)}, developer", role)


def _content(message: Body, where: str) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None and message["role"] == "assistant":
        return ""
    if not isinstance(content, list):
        raise wrong(where, "a text or a list of text parts", content)
    return "".join(_part(part, f"{where}[{number}]") for number, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise wrong(where, 'a text part {"type": "text", "text": "…"}', part)
    return str(part["text"])


def sampling(fields: Body, manifest: Manifest) -> Sampling:
    defaults = manifest.sampling
    top_k = integer(fields, "top_k", 0, 1_000_000)
    return Sampling(
        temperature=number(fields, "temperature", defaults.temperature, 0, 2),
        top_p=number(fields, "top_p", defaults.top_p, 0, 1, above_low=True),
        top_k=defaults.top_k if top_k is None else top_k,
        seed=integer(fields, "seed", 0, MAX_SEED),
        min_p=number(fields, "min_p", 0, 0, 1),
        repetition_penalty=number(
            fields, "repetition_penalty", 1, MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY
        ),
        presence_penalty=number(fields, "presence_penalty", 0, -MAX_PENALTY, MAX_PENALTY),
        frequency_penalty=number(fields, "frequency_penalty", 0, -MAX_PENALTY, MAX_PENALTY),
        logit_bias=_logit_bias(fields),
    )


def _logit_bias(fields: Body) -> tuple[tuple[int, float], ...]:
    """Token ids of whatever model, with what is added to their logits."""
    biases = fields.get("logit_bias")
    if biases is None:
        return ()
    if not isinstance(biases, dict):
        raise wrong("logit_bias", "an object of token ids and numbers", biases)
    if len(biases) > MAX_BIASED_TOKENS:
        raise InvalidRequest(
            f"'logit_bias' may name {MAX_BIASED_TOKENS} tokens, but names {len(biases)}.", "logit_bias"
        )
    return tuple(_bias(token, biases) for token in biases)


def _bias(token: str, biases: Body) -> tuple[int, float]:
    if not token.isdecimal() or len(token) > MAX_TOKEN_DIGITS or str(int(token)) != token:
        raise InvalidRequest(
            f"'logit_bias' must name token ids, whole numbers from 0, but names {token[:20]!r}.", "logit_bias"
        )
    if biases[token] is None:
        raise wrong("logit_bias", "an object of token ids and numbers", biases)
    try:
        return int(token), number(biases, token, 0, -MAX_BIAS, MAX_BIAS)
    except InvalidRequest as error:
        raise InvalidRequest(f"In 'logit_bias', {error}", "logit_bias") from None


def _top_logprobs(fields: Body) -> int | None:
    """How many likely tokens to tell beside each token's own log probability; None tells nothing."""
    top = integer(fields, "top_logprobs", 0, MAX_TOP_LOGPROBS) or 0
    if boolean(fields, "logprobs"):
        return top
    if top:
        raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    return None


def _max_tokens(fields: Body, context_length: int) -> int | None:
    """`max_completion_tokens` is OpenAI's newer name and wins when both are there."""
    newer = integer(fields, "max_completion_tokens", 1, context_length)
    older = integer(fields, "max_tokens", 1, context_length)
    return newer if newer is not None else older


def _begun_ids(fields: Body, n: int, context_length: int) -> tuple[int, ...]:
    """Ids of whatever model. What holds, counts or repeats an answer must have seen its beginning."""
    ids = optional_token_ids(fields, "begun_ids", context_length, _BEGUN)
    if ids:
        used = [name for name in ("tools", "logprobs", "seed") if fields.get(name) not in (None, False, [])]
        used += ["response_format"] if parse_answer_format(fields) else []
        used += ["n"] if n > 1 else []
        if used:
            raise UnsupportedParameter("begun_ids", f"Leave it out together with '{used[0]}'.")
    return ids


def stop_texts(fields: Body) -> tuple[str, ...]:
    stop = fields.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise wrong("stop", f"a text or a list of at most {MAX_STOPS} texts", stop)
    for text in stops:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARS:
            raise wrong("stop", f"texts of 1 to {MAX_STOP_CHARS} characters", text)
    return tuple(stops)


def _include_usage(fields: Body) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise wrong("stream_options", "an object", options)
    return boolean(options, "include_usage")
