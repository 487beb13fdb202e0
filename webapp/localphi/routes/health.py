"""Whether the server lives, whether it can answer, and what it has counted."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from localphi.config import BackendName
from localphi.engine.base import variant_for
from localphi.engine.client import Engine, Engines, EngineState
from localphi.errors import LocalphiError, ModelDamaged, WorkerDied
from localphi.models.store import ModelFolder, ModelStore
from localphi.routes.answer_forms import JSON, ref
from localphi.routes.metrics import Metrics
from localphi.routes.openai_errors import error_object
from localphi.routes.operations import Operation, described
from localphi.security import ANONYMOUS

_READY = (
    "Ready is a server whose model is loaded, is being loaded, or can be. A probe that finds a dead worker "
    "answers 503 with the reason, and starts it again. Without a key, where the server has keys, it "
    "says no more than whether."
)


def blueprint(store: ModelStore, engines: Engines, metrics: Metrics) -> Blueprint:
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    @described(Operation("Whether the server lives", {JSON: ref("Health")}))
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    @described(
        Operation(
            "Whether requests will be answered", {JSON: ref("Readiness")}, failures=(503,), description=_READY
        )
    )
    def readyz() -> Response:
        try:
            folder = store.default()
            engines.check_size(folder.id)
            state = _state(folder, engines.get(folder.id))
        except LocalphiError as error:
            return _not_ready(error)
        if state.failure is not None:
            return _not_ready(state.failure)
        if _is_anonymous():
            return jsonify(status="ready")
        return jsonify(status="ready", model=folder.id, worker=state.status)

    @routes.get("/metrics")
    @described(Operation("What was counted, for Prometheus", {"text/plain": {"type": "string"}}))
    def metrics_text() -> Response:
        return Response(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes


def _is_anonymous() -> bool:
    return bool(request.environ.get(ANONYMOUS))


def _not_ready(why: LocalphiError) -> Response:
    """With the reason, which may name models and folders, for those who may know them."""
    document = error_object(why)
    if _is_anonymous():
        document["error"]["message"] = "The model cannot answer. With an access key you are told why."
    response = jsonify({"status": "not ready", **document})
    response.status_code = 503
    return response


def _state(folder: ModelFolder, engine: Engine) -> EngineState:
    """What the model does. Raises what will keep it from being loaded; starts a worker that has died."""
    state = engine.state
    if state.status == "idle":
        _check_files(folder, engine.spec.backend)
    if isinstance(state.failure, WorkerDied):
        engine.start()
    return state


def _check_files(folder: ModelFolder, backend: BackendName) -> None:
    """Only whether they are there; the worker reads them to the last byte before it loads them."""
    for name in variant_for(backend, folder.manifest, folder.path).files:
        if not (folder.path / name).is_file():
            raise ModelDamaged(folder.id, name, "it is missing", folder.repair_advice)
