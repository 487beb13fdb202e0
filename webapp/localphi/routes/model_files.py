"""GET /models/<id>/<file>: the files of a model folder, for the page."""

from __future__ import annotations

from flask import Blueprint, Response, abort

from localphi.models.manifest import MANIFEST_NAME, describe_file
from localphi.models.store import ModelStore
from localphi.routes.answer_forms import JSON
from localphi.routes.operations import Operation, described
from localphi.routes.sending import BYTES, send_content


def blueprint(store: ModelStore) -> Blueprint:
    routes = Blueprint("model_files", __name__)

    @routes.get("/models/<model_id>/<path:name>")
    @described(Operation("A file of a model", {BYTES: {}}, failures=(404, 416, 503)))
    def model_file(model_id: str, name: str) -> Response:
        folder = store.get(model_id)
        path = folder.file(name)
        if path is None or not path.is_file():
            abort(404, f"The model '{model_id}' has no file '{name}'.")
        title = f"The file '{name}' of '{model_id}'"
        if name == MANIFEST_NAME:
            return send_content(path, describe_file(path).sha256, title, JSON)
        return send_content(path, folder.manifest.files[name].sha256, title)

    return routes
