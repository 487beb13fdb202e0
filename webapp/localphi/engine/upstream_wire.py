"""OpenAI's wire format from the other side: requests written out, the chunks of streams read into items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localphi.chat import (
    AnswerLogprob,
    CallArguments,
    CallStarted,
    ChatRequest,
    Chunk,
    Finished,
    FinishReason,
    Item,
    Message,
    NamedTool,
    Progress,
    RawPrompt,
    TokenLogprob,
    Usage,
)
from localphi.errors import ContextLengthExceeded, EngineFailed, InvalidRequest, LocalphiError

Document = dict[str, Any]
_MAX_MESSAGE_CHARS = 1000
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


def path_and_body(
    request: ChatRequest, model: str, *, tells_ids: bool, is_ours: bool
) -> tuple[str, Document]:
    """What to POST where, for a stream. tells_ids: the server can tell token ids. is_ours: it is localphi."""
    body: Document = {
        "model": f"{model}:{request.adapter}" if request.adapter else model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(request),
        **_ids(request, tells_ids=tells_ids, is_ours=is_ours),
    }
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.ignore_end:
        body["ignore_eos"] = True
    if isinstance(request.messages, RawPrompt):
        content = request.messages.content
        return "/v1/completions", body | {"prompt": content if isinstance(content, str) else list(content)}
    body["messages"] = [_message(message) for message in request.messages]
    return "/v1/chat/completions", body | _held(request)


def _ids(request: ChatRequest, *, tells_ids: bool, is_ours: bool) -> Document:
    found: Document = {"return_token_ids": True} if tells_ids else {}
    if is_ours and request.tells_progress:
        found["return_progress"] = True
    if is_ours and request.begun_ids:
        found["begun_ids"] = list(request.begun_ids)
    return found


def _sampling(request: ChatRequest) -> Document:
    """Temperature always; of the rest what is not OpenAI's own default, for not every server knows it."""
    sampling = request.sampling
    told: Document = {"temperature": sampling.temperature}
    usual = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    usual |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
    told |= {name: getattr(sampling, name) for name, off in usual.items() if getattr(sampling, name) != off}
    if sampling.seed is not None:
        told["seed"] = sampling.seed
    if sampling.logit_bias:
        told["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    return told


def _held(request: ChatRequest) -> Document:
    """What only conversations have: tools, a format, log probabilities."""
    body: Document = {}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": json.loads(tool.parameters),
                },
            }
            for tool in request.tools
        ]
        choice = request.tool_choice
        named = {"name": choice.name} if isinstance(choice, NamedTool) else None
        body["tool_choice"] = {"type": "function", "function": named} if named else choice
        if not request.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if request.answer_format is not None:
        schema = request.answer_format.schema
        wanted = {"name": "answer", "schema": json.loads(schema)} if schema else None
        kind = {"type": "json_schema", "json_schema": wanted} if wanted else {"type": "json_object"}
        body["response_format"] = kind
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return body


def _message(message: Message) -> Document:
    told: Document = {"role": message.role, "content": message.content}
    if message.tool_calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        told["tool_call_id"] = message.tool_call_id
    return told


class ChunkReader:
    """Reads the chunks of one streamed answer. `end` says how it ended, once `[DONE]` has come."""

    def __init__(self, *, has_logprobs: bool) -> None:
        self._has_logprobs = has_logprobs
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._tokens = 0
        self._calls = -1

    @property
    def ended(self) -> bool:
        return self._reason is not None

    def items(self, chunk: Mapping[str, Any]) -> Iterator[Item]:
        """Raises KeyError, TypeError, ValueError or AttributeError for what is no chunk."""
        progress = chunk.get("prompt_progress")
        if progress:
            yield Progress(
                int(progress["processed"]),
                int(progress["total"]),
                int(progress.get("cache", 0)),
                float(progress.get("time_ms", 0)) / 1000,
            )
        if chunk.get("usage"):
            self._usage = _usage(chunk)
        for choice in chunk.get("choices") or ():
            yield from self._choice(choice)

    def end(self) -> Finished:
        """Without usage from the server, pieces are counted."""
        return Finished(self._reason or "stop", self._usage or Usage(0, self._tokens))

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Item]:
        delta = choice.get("delta") or {}
        text = str(delta.get("content") or choice.get("text") or "")
        ids = tuple(int(token) for token in choice.get("token_ids") or ())
        logprobs = _logprobs(choice.get("logprobs")) if self._has_logprobs else ()
        if text or ids or logprobs:
            self._tokens += max(len(ids), 1)
            yield Chunk(text, ids, logprobs)
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)
        if choice.get("finish_reason"):
            self._reason = _REASONS.get(str(choice["finish_reason"]), "stop")

    def _call(self, call: Mapping[str, Any]) -> Iterator[Item]:
        function, index = call.get("function") or {}, int(call["index"])
        if index > self._calls:
            self._calls = index
            yield CallStarted(index, str(call["id"]), str(function["name"]))
        if arguments := function.get("arguments"):
            yield CallArguments(index, str(arguments))


def _usage(chunk: Mapping[str, Any]) -> Usage:
    counts = chunk["usage"]
    details = counts.get("prompt_tokens_details") or {}
    timings = chunk.get("timings") or {}
    decode_ms = timings.get("decode_ms", timings.get("predicted_ms", 0))
    return Usage(
        int(counts["prompt_tokens"]),
        int(counts["completion_tokens"]),
        float(decode_ms) / 1000,
        details.get("cached_tokens"),
    )


def _logprobs(told: Mapping[str, Any] | None) -> tuple[AnswerLogprob, ...]:
    content: Sequence[Mapping[str, Any]] = (told or {}).get("content") or ()
    return tuple(
        AnswerLogprob(
            _data(entry), float(entry["logprob"]), tuple(map(_top, entry.get("top_logprobs") or ()))
        )
        for entry in content
    )


def _top(entry: Mapping[str, Any]) -> TokenLogprob:
    return TokenLogprob(_data(entry), float(entry["logprob"]))


def _data(entry: Mapping[str, Any]) -> bytes:
    told = entry.get("bytes")
    return bytes(told) if told else str(entry.get("token", "")).encode("utf-8", "replace")


def refusal(status: int, body: bytes) -> LocalphiError:
    """What a server says is wrong with the request, as our error."""
    error = error_of(body)
    message = str(error.get("message") or f"The upstream server answered {status}.")[:_MAX_MESSAGE_CHARS]
    tokens, length = error.get("prompt_tokens"), error.get("context_length")
    if isinstance(tokens, int) and isinstance(length, int):
        return ContextLengthExceeded(tokens, length, str(error.get("param") or "messages"))
    if 400 <= status < 500:
        param = error.get("param")
        return InvalidRequest(message, param if isinstance(param, str) else None)
    return EngineFailed(message)


def error_of(body: bytes) -> Document:
    """The error object of a body, empty where there is none."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    error = document.get("error", document) if isinstance(document, dict) else {}
    return error if isinstance(error, dict) else {"message": error}
