"""Models of the catalogue, fetched by the server for whoever asks.

The only routes that reach beyond this machine. Nothing is fetched, and no hub asked anything, before a POST
names a model. Which models there are comes with the package.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify

from localphi.engine.client import Gone
from localphi.engine.providers import CUDA_PACKAGE, installed
from localphi.models.catalogue import CatalogueModel, Source, catalogue
from localphi.models.pulls import Pulls, PullState
from localphi.models.store import ModelStore
from localphi.routes import sse
from localphi.routes.answer_forms import EVENT_STREAM, EVENTS, JSON, ref
from localphi.routes.answers import KEEPALIVE_S, client_left
from localphi.routes.operations import Operation, described

_EVERY_S = 1.0
_MOST_WATCHERS = 8  # each holds a thread of the server; whoever comes later is told once, and asks again

_CATALOGUE = Operation(
    "The models that can be fetched",
    {JSON: ref("Catalogue")},
    description="Asks nobody: 'about_bytes' is what the hub showed once. 'here': it was fetched before.",
)
_LIST = Operation("Fetches since the server began", {JSON: ref("Pulls")})
_START = Operation(
    "Fetch a model from the hub into the store",
    {JSON: ref("Pull")},
    failures=(404, 409),
    description="Answers at once. One at a time: 409 while another one comes. What a stopped or broken fetch "
    "got is kept, and the next one goes on there.",
)
_WATCH = Operation(
    "The progress of a fetch",
    {EVENT_STREAM: EVENTS},
    failures=(404,),
    description="An event at once, then as it goes on; the last one says how it ended.",
)
_STOP = Operation("Stop a fetch, and keep what has come", {}, failures=(404,), may_be_empty=True)


def blueprint(store: ModelStore, pulls: Pulls) -> Blueprint:
    routes = Blueprint("pulls", __name__)
    watchers = threading.BoundedSemaphore(_MOST_WATCHERS)

    @routes.get("/catalogue")
    @described(_CATALOGUE)
    def list_catalogue() -> Response:
        origins = {folder.id: folder.manifest.origin.get("source") for folder in store.folders()}
        return jsonify(models=[_model(model, origins) for model in catalogue().models])

    @routes.get("/pulls")
    @described(_LIST)
    def list_pulls() -> Response:
        return jsonify(pulls=[_document(state) for state in pulls.states()])

    @routes.post("/pulls/<source_id>")
    @described(_START)
    def start_pull(source_id: str) -> Response:
        return jsonify(_document(pulls.start(source_id)))

    @routes.get("/pulls/<source_id>")
    @described(_WATCH)
    def watch_pull(source_id: str) -> Response:
        states = pulls.watch(source_id, _EVERY_S)
        if not watchers.acquire(blocking=False):
            return sse.response(_events(iter([next(states)]), lambda: False), lambda: None)
        return sse.response(_events(states, client_left()), watchers.release)

    @routes.delete("/pulls/<source_id>")
    @described(_STOP)
    def stop_pull(source_id: str) -> Response:
        pulls.stop(source_id)
        return Response(status=204)

    return routes


def _events(states: Iterator[PullState | None], gone: Gone) -> Iterator[bytes]:
    silent_s = 0.0
    for state in states:
        if gone():
            return
        silent_s = silent_s + _EVERY_S if state is None else 0.0
        if state is not None:
            yield sse.data(_document(state))
        elif silent_s >= KEEPALIVE_S:
            silent_s = 0.0
            yield sse.KEEPALIVE


def _document(state: PullState) -> dict[str, Any]:
    left_s = state.left_s
    return {
        "id": state.id,
        "model": state.model,
        "status": state.status,
        "done_bytes": max(0, state.done_bytes),
        "total_bytes": state.total_bytes,
        "bytes_per_s": round(state.bytes_per_s),
        "left_s": None if left_s is None else round(left_s, 1),
        "note": state.note,
        "error": state.error,
    }


def _model(model: CatalogueModel, origins: dict[str, str | None]) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "about": model.about,
        "license": model.license,
        "context_length": model.context_length,
        "sources": [_source(source, origins) for source in model.sources.values()],
    }


def _source(source: Source, origins: dict[str, str | None]) -> dict[str, Any]:
    ours = "server-cuda" if installed(CUDA_PACKAGE) else "server-cpu"
    return {
        "id": source.id,
        "device": source.device,
        "repo": source.repo,
        "about_bytes": source.about_bytes,
        "note": source.note,
        "here": origins.get(source.id) == source.address,
        "for_this_server": source.device == ours,
    }
