"""GET /adapters/<model>, GET /adapters/<model>/<name>: LoRA adapters, for browsers to compute with."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from localphi.models.adapters import AdapterStore, check_base
from localphi.models.store import ModelStore
from localphi.routes.answer_forms import JSON, ref
from localphi.routes.operations import Operation, described
from localphi.routes.sending import BYTES, send_content


def blueprint(store: ModelStore, adapters: AdapterStore) -> Blueprint:
    routes = Blueprint("adapter_files", __name__)

    @routes.get("/adapters/<model_id>")
    @described(Operation("The LoRA adapters of a model", {JSON: ref("Adapters")}, failures=(404,)))
    def list_adapters(model_id: str) -> Response:
        found = adapters.of_model(store.get(model_id).id)
        return jsonify(adapters=[{"name": each.name, **asdict(each.info)} for each in found])

    @routes.get("/adapters/<model_id>/<name>")
    @described(Operation("The weights of a LoRA adapter", {BYTES: {}}, failures=(400, 404, 416)))
    def adapter_file(model_id: str, name: str) -> Response:
        manifest = store.get(model_id).manifest
        adapter = adapters.get(manifest.id, name)
        check_base(adapter, manifest)
        return send_content(adapter.weights, adapter.info.sha256, f"The adapter '{name}' of '{model_id}'")

    return routes
