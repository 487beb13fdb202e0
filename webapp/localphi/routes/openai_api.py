"""Chat and text completions and the list of models, in OpenAI's wire format."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from localphi.chat import (
    AnswerLogprob,
    CallArguments,
    CallStarted,
    Chunk,
    Finished,
    FinishReason,
    Item,
    Usage,
)
from localphi.engine.client import Answer, Engines, Gone
from localphi.errors import ContextLengthExceeded, LocalphiError
from localphi.models.store import ModelFolder, ModelStore
from localphi.routes import answer_forms, forms, sse
from localphi.routes.answers import client_left, streamed, whole
from localphi.routes.clients import client_name
from localphi.routes.fields import json_object
from localphi.routes.logprobs import chat_logprobs
from localphi.routes.metrics import Metrics
from localphi.routes.openai_errors import error_object
from localphi.routes.operations import Operation, described
from localphi.routes.schema import TEXT_MAX_TOKENS, parse_body, text_body

_FAILURES = (400, 404, 413, 429, 503)


def _generates(summary: str, answer: str, body: forms.BodyForm, description: str = "") -> Operation:
    answers = {
        answer_forms.JSON: answer_forms.ref(answer),
        answer_forms.EVENT_STREAM: answer_forms.EVENTS,
    }
    return Operation(summary, answers, body, _FAILURES, description)


def blueprint(store: ModelStore, engines: Engines, metrics: Metrics) -> Blueprint:
    routes = Blueprint("openai", __name__)

    @routes.get("/v1/models")
    @described(Operation("The models on this machine", {answer_forms.JSON: answer_forms.ref("Models")}))
    def list_models() -> Response:
        return jsonify(object="list", data=[_model_object(folder) for folder in store.folders()])

    @routes.get("/v1/models/<model_id>")
    @described(Operation("One model", {answer_forms.JSON: answer_forms.ref("Model")}, failures=(404,)))
    def show_model(model_id: str) -> Response:
        return jsonify(_model_object(store.get(model_id)))

    @routes.post("/v1/chat/completions")
    @described(_generates("Answer a conversation", "ChatCompletion", forms.CHAT))
    def chat_completions() -> Response:
        body = parse_body(request.get_data())
        folder = store.get(body.model) if body.model else store.default()
        gone = client_left()
        asked = body.to_request(folder.manifest)
        answer = engines.get(folder.id).submit(asked, gone, client_name())
        metrics.watch(folder.id, answer)
        wire = _Wire(folder.id, answer, has_tools=bool(asked.tools), logprobs=asked.top_logprobs is not None)
        if not body.stream:
            return jsonify(wire.completion(gone))
        return _event_stream(wire.events(body.include_usage, gone), answer)

    @routes.post("/v1/completions")
    @described(
        _generates(
            "Go on with a text",
            "TextCompletion",
            forms.TEXT,
            "The prompt is read as it is, with nothing of a conversation around it. "
            f"'max_tokens' is {TEXT_MAX_TOKENS} where it is left out.",
        )
    )
    def completions() -> Response:
        body = text_body(json_object(request.get_data()))
        folder = store.get(body.model) if body.model else store.default()
        gone = client_left()
        asked = body.to_request(folder.manifest)
        try:
            answer = engines.get(folder.id).submit(asked, gone, client_name())
        except ContextLengthExceeded as error:
            raise ContextLengthExceeded(error.prompt_tokens, error.context_length, "prompt") from None
        metrics.watch(folder.id, answer)
        wire = _TextWire(folder.id, answer)
        if not body.stream:
            return jsonify(wire.completion(gone))
        return _event_stream(wire.events(body.include_usage, gone), answer)

    return routes


def _event_stream(events: Iterator[bytes], answer: Answer) -> Response:
    response = Response(events, content_type=sse.MEDIA_TYPE, headers=sse.HEADERS)
    response.call_on_close(answer.close)
    return response


def _model_object(folder: ModelFolder) -> dict[str, Any]:
    return {"id": folder.id, "object": "model", "created": 0, "owned_by": "localphi"}


class _Wire:
    """One answer written out, whole or as a stream of chunks.

    has_tools: it may consist of calls alone, and then its content is null.
    logprobs: they were asked for.
    """

    def __init__(
        self, model_id: str, answer: Answer, *, has_tools: bool = False, logprobs: bool = False
    ) -> None:
        self._answer = answer
        self._has_logprobs = logprobs
        self._no_content = None if has_tools else ""
        self._head = _head("chatcmpl", model_id)

    def completion(self, gone: Gone) -> dict[str, Any]:
        """The whole answer. Raises RequestAbandoned as soon as nobody waits for it any more."""
        with self._answer as answer:
            message: dict[str, Any] = {"role": "assistant", "content": self._no_content, "refusal": None}
            logprobs: list[AnswerLogprob] = []

            def take(item: Item) -> None:
                _add(message, item)
                logprobs.extend(_logprobs(item))

            end = whole(answer, gone, take)
            return self._completion(message, logprobs, end.reason, end.usage)

    def _completion(
        self,
        message: dict[str, Any],
        logprobs: list[AnswerLogprob],
        reason: FinishReason,
        usage: Usage,
    ) -> dict[str, Any]:
        if "tool_calls" not in message:
            message["content"] = message["content"] or ""
        told = chat_logprobs(logprobs) if self._has_logprobs else None
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": told}
        return {**self._head, "object": "chat.completion", "choices": [choice], **_usage(usage)}

    def events(self, include_usage: bool, gone: Gone) -> Iterator[bytes]:
        """The stream. The first event goes out at once; a later failure is an error event, without [DONE].

        Ends without a word when nobody reads it any more, also while the model is still silent.
        """
        yield self._chunk({"role": "assistant", "content": self._no_content})
        try:
            for item in streamed(self._answer, gone):
                if item is None:
                    yield sse.KEEPALIVE
                elif isinstance(item, Finished):
                    yield from self._end(item, include_usage)
                elif (delta := _delta(item)) or _logprobs(item):
                    yield self._chunk(delta, logprobs=_logprobs(item))
        except LocalphiError as error:
            yield sse.data(error_object(error))

    def _end(self, finished: Finished, include_usage: bool) -> Iterator[bytes]:
        yield self._chunk({}, finished.reason)
        if include_usage:
            yield sse.data(
                {**self._head, "object": "chat.completion.chunk", "choices": [], **_usage(finished.usage)}
            )
        yield sse.DONE

    def _chunk(
        self,
        delta: dict[str, Any],
        reason: FinishReason | None = None,
        logprobs: Sequence[AnswerLogprob] = (),
    ) -> bytes:
        told = chat_logprobs(logprobs) if logprobs else None
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": told}
        return sse.data({**self._head, "object": "chat.completion.chunk", "choices": [choice]})


class _TextWire:
    """The answer to a raw prompt, written out like one to a conversation."""

    def __init__(self, model_id: str, answer: Answer) -> None:
        self._answer = answer
        self._head = {**_head("cmpl", model_id), "object": "text_completion"}

    def completion(self, gone: Gone) -> dict[str, Any]:
        """The whole answer. Raises RequestAbandoned as soon as nobody waits for it any more."""
        texts: list[str] = []
        with self._answer as answer:
            end = whole(answer, gone, lambda item: texts.append(_text(item)))
        return {**self._choice("".join(texts), end.reason), **_usage(end.usage)}

    def events(self, include_usage: bool, gone: Gone) -> Iterator[bytes]:
        """The stream. A comment goes out at once; a later failure is an error event, without [DONE]."""
        yield sse.KEEPALIVE
        try:
            for item in streamed(self._answer, gone):
                if item is None:
                    yield sse.KEEPALIVE
                elif isinstance(item, Finished):
                    yield from self._end(item, include_usage)
                elif text := _text(item):
                    yield sse.data(self._choice(text))
        except LocalphiError as error:
            yield sse.data(error_object(error))

    def _end(self, finished: Finished, include_usage: bool) -> Iterator[bytes]:
        yield sse.data(self._choice("", finished.reason))
        if include_usage:
            yield sse.data({**self._head, "choices": [], **_usage(finished.usage)})
        yield sse.DONE

    def _choice(self, text: str, reason: FinishReason | None = None) -> dict[str, Any]:
        choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
        return {**self._head, "choices": [choice]}


def _head(prefix: str, model_id: str) -> dict[str, Any]:
    """What every document of an answer begins with."""
    return {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model_id}


def _text(item: Item) -> str:
    return item.text if isinstance(item, Chunk) else ""


def _add(message: dict[str, Any], item: Item) -> None:
    """Put what came into the message of a whole answer."""
    match item:
        case Chunk(text=text) if text:
            message["content"] = (message["content"] or "") + text
        case CallStarted(id=call_id, name=name):
            function = {"name": name, "arguments": ""}
            calls = message.setdefault("tool_calls", [])
            calls.append({"id": call_id, "type": "function", "function": function})
        case CallArguments(index, text):
            message["tool_calls"][index]["function"]["arguments"] += text


def _delta(item: Item) -> dict[str, Any]:
    """What came, for a chunk of a stream; empty when there is nothing to show."""
    match item:
        case Chunk(text=text) if text:
            return {"content": text}
        case CallStarted(index, call_id, name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        case CallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
    return {}


def _logprobs(item: Item) -> tuple[AnswerLogprob, ...]:
    return item.logprobs if isinstance(item, Chunk) else ()


def _usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`, and beside it the server's own `timings` where there are some."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.tokens_per_second is None:
        return {"usage": counts}
    decode_ms, speed = round(usage.decode_s * 1000, 1), round(usage.tokens_per_second, 1)
    return {"usage": counts, "timings": {"decode_ms": decode_ms, "tokens_per_second": speed}}
