"""HTTP: Flask, JSON and SSE. Token ids pass through it unread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flask import Flask

from localphi.chat import ServerTool
from localphi.config import Settings
from localphi.engine.client import Engines
from localphi.engine.elsewhere import Elsewhere, upstream_servers
from localphi.errors import HubRefused
from localphi.logs import keep_private
from localphi.models.adapters import AdapterStore
from localphi.models.hub import Hub
from localphi.models.pulls import Pulls
from localphi.models.store import ModelStore
from localphi.routes import (
    adapter_files,
    health,
    llama_cpp_api,
    model_files,
    openai_api,
    openai_errors,
    openapi,
    page,
    pulls,
    responses_api,
    server_tools,
    streams_api,
)
from localphi.routes import engines as engine_routes
from localphi.routes.metrics import Metrics
from localphi.routes.streams import Streams
from localphi.routes.tracing import tracing_to
from localphi.security import Access, SecureWsgi

MAX_BODY_BYTES = 4 * 1024 * 1024


def build_app(
    settings: Settings, version: str, elsewhere: Elsewhere | None = None, tools: Sequence[ServerTool] = ()
) -> Flask:
    """The application. elsewhere: who computes answers, where it is not this machine. tools: for the page.

    Raises ModelNotFound or ModelFolderInvalid when the default model is not there; ServerStartFailed or
    KeysUnusable when the settings would open it to others.
    """
    app = Flask("localphi", static_folder=None)
    access = Access.of(settings, partial(page.is_page_file, app, settings.page_dir))
    keep_private(app.logger.name)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    if elsewhere is None and settings.engine == "remote":
        elsewhere = upstream_servers(settings)
    store = elsewhere.store if elsewhere else ModelStore(settings.home).pin(settings.model)
    engines = Engines(store, settings, elsewhere.make_engine if elsewhere else None)
    tracing = tracing_to(settings.trace_to)
    engines.on_close(tracing.flush)  # first: Ray may end this process before Python's own exit
    if elsewhere is not None:
        engines.on_close(elsewhere.close)
    app.extensions["localphi"] = engines
    openai_errors.install(app)
    tracing.install(app)
    metrics = Metrics(engines, tracing)
    metrics.install(app)
    streams, adapters = Streams(), AdapterStore(settings.home)
    app.register_blueprint(openai_api.blueprint(store, engines, metrics, streams, adapters))
    app.register_blueprint(responses_api.blueprint(store, engines, metrics, streams))
    app.register_blueprint(streams_api.blueprint(streams))
    app.register_blueprint(llama_cpp_api.blueprint(store, engines))
    app.register_blueprint(engine_routes.blueprint(store, engines))
    app.register_blueprint(model_files.blueprint(store))
    app.register_blueprint(adapter_files.blueprint(store, adapters))
    app.register_blueprint(pulls.blueprint(store, Pulls(store, partial(_hub, settings))))
    app.register_blueprint(server_tools.blueprint(tools))
    app.register_blueprint(health.blueprint(store, engines, metrics))
    app.register_blueprint(openapi.blueprint(app, store, version))
    app.register_blueprint(page.blueprint(settings.page_dir))
    app.wsgi_app = SecureWsgi(app.wsgi_app, access)  # type: ignore[method-assign]
    return app


def _hub(settings: Settings) -> Hub:
    """Raises HubRefused where the models of this server are elsewhere: it asks nobody else."""
    if settings.engine != "local":
        raise HubRefused("This server has no models itself. Pull the model where it is computed.")
    return Hub(token=settings.hub_token)
