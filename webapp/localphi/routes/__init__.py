"""HTTP: Flask, JSON and SSE. Knows nothing of token ids."""

from __future__ import annotations

from flask import Flask, Response, jsonify

from localphi.config import Settings
from localphi.engine.client import Engines
from localphi.models.store import ModelStore
from localphi.routes import model_files, openai_api, openai_errors, page
from localphi.security import SecureWsgi

MAX_BODY_BYTES = 4 * 1024 * 1024


def build_app(settings: Settings) -> Flask:
    """The application. Raises ModelNotFound or ModelFolderInvalid when the default model is not there."""
    app = Flask("localphi", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    store = ModelStore(settings.home).pin(settings.model)
    engines = Engines(store, settings)
    app.extensions["localphi"] = engines
    openai_errors.install(app)
    app.register_blueprint(openai_api.blueprint(store, engines))
    app.register_blueprint(model_files.blueprint(store))
    app.register_blueprint(page.blueprint(settings.page_dir))
    app.add_url_rule("/healthz", "healthz", _healthz)
    app.wsgi_app = SecureWsgi(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _healthz() -> Response:
    return jsonify(status="ok")
