"""Tokens of texts, texts of tokens and prompts of conversations, as llama.cpp's server tells them.

The worker of the model replies between two steps of its answers. Who waits for it takes no place of an
answer; but only a few may wait, so that threads are left for the page and for health.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, Response, jsonify, request

from localphi.engine.base import Encode, Encoded
from localphi.engine.client import Engine, Engines
from localphi.engine.prompt import prompt_text
from localphi.engine.queueing import Places
from localphi.models.store import ModelFolder, ModelStore
from localphi.routes.answer_forms import JSON, ref
from localphi.routes.answers import client_left
from localphi.routes.fields import Body, boolean, json_object, text, token_ids
from localphi.routes.forms import CHAT, MODEL, BodyForm
from localphi.routes.operations import Operation, described
from localphi.routes.schema import chat_body, parse_model

MAX_CONTENT_CHARS = 128 * 1024
MAX_TOKENS = 128 * 1024
MAX_WAITING = 4


def _tokenize(fields: Body) -> Encode:
    return Encode(
        text(fields, "content", MAX_CONTENT_CHARS),
        add_special=boolean(fields, "add_special"),
        parse_special=boolean(fields, "parse_special", default=True),
        with_pieces=boolean(fields, "with_pieces"),
    )


def _detokenize(fields: Body) -> tuple[int, ...]:
    return token_ids(fields, "tokens", MAX_TOKENS)


def _asks(summary: str, answer: str, read: Callable[[Body], object], sample: dict[str, Any]) -> Operation:
    """An operation that the worker replies to."""
    body = BodyForm(lambda fields, _: (parse_model(fields), read(fields)), sample, {"model": MODEL})
    return Operation(summary, {JSON: ref(answer)}, body, (400, 404, 413, 429, 503))


_TOKENIZE = _asks("The token ids of a text", "Tokens", _tokenize, {"content": "Hello"})
_DETOKENIZE = _asks(
    "The text of token ids, control tokens included", "Text", _detokenize, {"tokens": [39, 101]}
)
_APPLY_TEMPLATE = Operation(
    "The prompt that the model reads of a conversation", {JSON: ref("Prompt")}, CHAT, (400, 404, 413)
)


def blueprint(store: ModelStore, engines: Engines) -> Blueprint:
    routes = Blueprint("llama_cpp", __name__)
    places = Places(MAX_WAITING)

    @routes.post("/tokenize")
    @described(_TOKENIZE)
    def tokenize() -> Response:
        fields = json_object(request.get_data())
        asked = _tokenize(fields)
        with _place(places):
            encoded = _engine(fields).encode(asked, client_left())
        return jsonify(tokens=_with_pieces(encoded) if asked.with_pieces else encoded.ids)

    @routes.post("/detokenize")
    @described(_DETOKENIZE)
    def detokenize() -> Response:
        fields = json_object(request.get_data())
        ids = _detokenize(fields)
        with _place(places):
            content = _engine(fields).decode(ids, client_left())
        return jsonify(content=content)

    @routes.post("/apply-template")
    @described(_APPLY_TEMPLATE)
    def apply_template() -> Response:
        fields = json_object(request.get_data())
        body = chat_body(fields)
        manifest = _folder(fields).manifest
        return jsonify(prompt=prompt_text(manifest, body.to_request(manifest)))

    def _folder(fields: Body) -> ModelFolder:
        model = parse_model(fields)
        return store.get(model) if model else store.default()

    def _engine(fields: Body) -> Engine:
        return engines.get(_folder(fields).id)

    return routes


@contextmanager
def _place(places: Places) -> Iterator[None]:
    place = places.take()
    try:
        yield
    finally:
        place.give_back()


def _with_pieces(encoded: Encoded) -> list[dict[str, Any]]:
    pairs = zip(encoded.ids, encoded.pieces, strict=True)
    return [{"id": token, "piece": _piece(piece)} for token, piece in pairs]


def _piece(piece: bytes) -> str | list[int]:
    """Text, or the bytes of a part of a character."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
