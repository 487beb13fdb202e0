"""The models that are loaded, for whoever wants to see or free memory. security.py refuses other pages."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from localphi.engine.client import EngineReport, Engines
from localphi.models.store import ModelStore
from localphi.routes.answer_forms import JSON, ref
from localphi.routes.operations import Operation, described

_MEMORY = (
    "Loaded models stay until they are idle for long, or another one needs their memory. 'estimated_bytes' "
    "is the most that a model may take, which counts for the budget; 'memory_bytes' is measured."
)
_LOAD = Operation(
    "Load a model",
    {JSON: ref("Engine")},
    failures=(404, 503),
    description="Answers at once; 'status' is 'loading' until the model is there.",
)
_UNLOAD = Operation(
    "Free a model's memory",
    {JSON: ref("Engine")},
    failures=(404, 409, 503),
    description="A model that has requests is not unloaded: 409.",
)


def blueprint(store: ModelStore, engines: Engines) -> Blueprint:
    routes = Blueprint("engines", __name__)

    @routes.get("/engines")
    @described(Operation("The models that are loaded", {JSON: ref("Engines")}, description=_MEMORY))
    def list_engines() -> Response:
        documents = [_document(report) for report in engines.reports()]
        return jsonify(memory_budget_bytes=engines.memory_budget_bytes, engines=documents)

    @routes.post("/engines/<model_id>/load")
    @described(_LOAD)
    def load_engine(model_id: str) -> Response:
        model = store.get(model_id).id
        engines.get(model).start()
        return jsonify(_document(engines.report(model)))

    @routes.post("/engines/<model_id>/unload")
    @described(_UNLOAD)
    def unload_engine(model_id: str) -> Response:
        model = store.get(model_id).id
        engines.get(model).unload()
        return jsonify(_document(engines.report(model)))

    return routes


def _document(report: EngineReport) -> dict[str, Any]:
    state = report.state
    return {
        "id": report.model,
        "status": state.status,
        "backend": report.backend,
        "memory_bytes": report.memory_bytes,
        "estimated_bytes": report.estimated_bytes,
        "active": state.active,
        "waiting": max(0, state.held - state.active),
        "idle_s": _rounded(report.idle_s),
        "unloads_in_s": _rounded(report.unloads_in_s),
        "restarts": state.restarts,
        "error": state.failure.message if state.failure else None,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
