"""POST /v1/chat/completions and GET /v1/models, in OpenAI's wire format."""

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
from localphi.errors import LocalphiError, RequestAbandoned
from localphi.models.store import ModelFolder, ModelStore
from localphi.routes import sse
from localphi.routes.logprobs import chat_logprobs
from localphi.routes.openai_errors import error_object
from localphi.routes.schema import parse_body

KEEPALIVE_S = 10.0
_POLL_S = 0.5


def blueprint(store: ModelStore, engines: Engines) -> Blueprint:
    routes = Blueprint("openai", __name__)

    @routes.get("/v1/models")
    def list_models() -> Response:
        return jsonify(object="list", data=[_model_object(folder) for folder in store.folders()])

    @routes.get("/v1/models/<model_id>")
    def show_model(model_id: str) -> Response:
        return jsonify(_model_object(store.get(model_id)))

    @routes.post("/v1/chat/completions")
    def chat_completions() -> Response:
        body = parse_body(request.get_data())
        folder = store.get(body.model) if body.model else store.default()
        gone = _client_left()
        asked = body.to_request(folder.manifest)
        answer = engines.get(folder.id).submit(asked, gone)
        wire = _Wire(folder.id, answer, has_tools=bool(asked.tools), logprobs=asked.top_logprobs is not None)
        if not body.stream:
            return jsonify(wire.completion(gone))
        response = Response(
            wire.events(body.include_usage, gone), content_type=sse.MEDIA_TYPE, headers=sse.HEADERS
        )
        response.call_on_close(answer.close)
        return response

    return routes


def _client_left() -> Gone:
    """waitress's own question whether the connection is gone; clients of other servers are taken to stay."""
    gone: Gone = request.environ.get("waitress.client_disconnected", lambda: False)
    return gone


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
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model_id,
        }

    def completion(self, gone: Gone) -> dict[str, Any]:
        """The whole answer. Raises RequestAbandoned as soon as nobody waits for it any more."""
        with self._answer as answer:
            message: dict[str, Any] = {"role": "assistant", "content": self._no_content, "refusal": None}
            logprobs: list[AnswerLogprob] = []
            while not isinstance(item := answer.next(_POLL_S), Finished):
                if item is not None:
                    _add(message, item)
                    logprobs += _logprobs(item)
                if gone():
                    raise RequestAbandoned
            return self._completion(message, logprobs, item.reason, item.usage)

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
        silent_s = 0.0
        try:
            while not isinstance(item := self._answer.next(_POLL_S), Finished):
                if gone():
                    return
                silent_s = silent_s + _POLL_S if item is None else 0.0
                if silent_s >= KEEPALIVE_S:
                    silent_s = 0.0
                    yield sse.KEEPALIVE
                elif item is not None and ((delta := _delta(item)) or _logprobs(item)):
                    yield self._chunk(delta, logprobs=_logprobs(item))
        except LocalphiError as error:
            yield sse.data(error_object(error))
            return
        yield self._chunk({}, item.reason)
        if include_usage:
            yield sse.data(
                {**self._head, "object": "chat.completion.chunk", "choices": [], **_usage(item.usage)}
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
