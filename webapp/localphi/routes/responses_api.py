"""/v1/responses, OpenAI's newer way to ask, without its memory: each request brings its conversation."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from localphi.engine.client import Engines
from localphi.errors import InvalidRequest
from localphi.models.store import ModelStore
from localphi.routes import streams_api
from localphi.routes.answer_forms import EVENT_STREAM, JSON, TYPED_EVENTS, ref
from localphi.routes.answers import client_left, submit
from localphi.routes.clients import client_name
from localphi.routes.fields import json_object
from localphi.routes.metrics import Metrics
from localphi.routes.operations import Operation, described
from localphi.routes.responses_body import in_words_of_responses, responses_body
from localphi.routes.responses_forms import RESPONSES
from localphi.routes.responses_wire import ResponseWire
from localphi.routes.streams import Streams

_RESPONSES = Operation(
    "Answer a conversation given as items",
    {JSON: ref("Response"), EVENT_STREAM: TYPED_EVENTS},
    RESPONSES,
    (400, 404, 413, 429, 503),
    "Stateless: nothing is stored, so each request brings its whole conversation.",
    parameters=(streams_api.RESUMABLE_PARAMETER,),
)


def blueprint(store: ModelStore, engines: Engines, metrics: Metrics, streams: Streams) -> Blueprint:
    routes = Blueprint("responses", __name__)

    @routes.post("/v1/responses")
    @described(_RESPONSES)
    def responses() -> Response:
        body = responses_body(json_object(request.get_data()))
        streams_api.check_header(body.stream)
        folder = store.get(body.model) if body.model else store.default()
        gone = client_left()
        asked = body.to_request(folder.manifest)
        try:
            answers = submit(engines.get(folder.id), asked, 1, gone, client_name())
        except InvalidRequest as error:
            raise in_words_of_responses(error) from None
        metrics.watch(folder.id, answers)
        wire = ResponseWire(folder.id, answers, body.echo(asked))
        if not body.stream:
            return jsonify(wire.response(gone))
        return streams_api.respond(streams, wire.events, answers.close, gone)

    return routes
