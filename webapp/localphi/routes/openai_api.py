"""Chat and text completions and the list of models, in OpenAI's wire format."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Blueprint, Response, jsonify, request

from localphi.chat import ChatRequest
from localphi.engine.client import Engines
from localphi.errors import ContextLengthExceeded
from localphi.models.adapters import AdapterStore
from localphi.models.store import ModelStore
from localphi.routes import answer_forms, forms, streams_api
from localphi.routes.answers import client_left, submit
from localphi.routes.clients import client_name
from localphi.routes.completion_wires import ChatWire, TextWire
from localphi.routes.fields import json_object
from localphi.routes.metrics import Metrics
from localphi.routes.operations import Operation, described
from localphi.routes.schema import TEXT_MAX_TOKENS, parse_body, text_body
from localphi.routes.streams import Streams

_FAILURES = (400, 404, 413, 429, 503)


def _generates(summary: str, answer: str, body: forms.BodyForm, description: str = "") -> Operation:
    answers = {
        answer_forms.JSON: answer_forms.ref(answer),
        answer_forms.EVENT_STREAM: answer_forms.EVENTS,
    }
    parameters = (streams_api.RESUMABLE_PARAMETER,)
    return Operation(summary, answers, body, _FAILURES, description, parameters=parameters)


def blueprint(
    store: ModelStore, engines: Engines, metrics: Metrics, streams: Streams, adapters: AdapterStore
) -> Blueprint:
    routes = Blueprint("openai", __name__)

    @routes.get("/v1/models")
    @described(Operation("The models on this machine", {answer_forms.JSON: answer_forms.ref("Models")}))
    def list_models() -> Response:
        data = [_model_object(folder.id) for folder in store.folders()]
        for folder in store.folders():
            data += [_model_object(f"{folder.id}:{each.name}") for each in adapters.of_model(folder.id)]
        return jsonify(object="list", data=data)

    @routes.get("/v1/models/<model_id>")
    @described(Operation("One model", {answer_forms.JSON: answer_forms.ref("Model")}, failures=(404,)))
    def show_model(model_id: str) -> Response:
        model, _, adapter = model_id.partition(":")
        found = store.get(model).id
        return jsonify(_model_object(f"{found}:{adapters.get(found, adapter).name}" if adapter else found))

    @routes.post("/v1/chat/completions")
    @described(_generates("Answer a conversation", "ChatCompletion", forms.CHAT))
    def chat_completions() -> Response:
        body = parse_body(request.get_data())
        streams_api.check_header(body.stream)
        folder = store.get(body.model) if body.model else store.default()
        gone = client_left()
        asked = body.to_request(folder.manifest)
        answers = submit(engines.get(folder.id), asked, body.n, gone, client_name())
        metrics.watch(folder.id, answers)
        has_logprobs = asked.top_logprobs is not None
        wire = ChatWire(
            _named(folder.id, asked),
            answers,
            has_tools=bool(asked.tools),
            logprobs=has_logprobs,
            tells_ids=body.tells_ids,
        )
        if not body.stream:
            return jsonify(wire.completion(gone))
        events = partial(wire.events, body.include_usage)
        return streams_api.respond(streams, events, answers.close, gone)

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
        streams_api.check_header(body.stream)
        folder = store.get(body.model) if body.model else store.default()
        gone = client_left()
        asked = body.to_request(folder.manifest)
        try:
            answers = submit(engines.get(folder.id), asked, body.n, gone, client_name())
        except ContextLengthExceeded as error:
            raise ContextLengthExceeded(error.prompt_tokens, error.context_length, "prompt") from None
        metrics.watch(folder.id, answers)
        wire = TextWire(_named(folder.id, asked), answers, tells_ids=body.tells_ids)
        if not body.stream:
            return jsonify(wire.completion(gone))
        events = partial(wire.events, body.include_usage)
        return streams_api.respond(streams, events, answers.close, gone)

    return routes


def _named(model: str, asked: ChatRequest) -> str:
    """What an answer says of the model that made it."""
    return f"{model}:{asked.adapter}" if asked.adapter else model


def _model_object(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "localphi"}
