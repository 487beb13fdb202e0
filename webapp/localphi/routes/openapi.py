"""GET /openapi.json: the API described by the routes and parsers themselves."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, jsonify
from werkzeug.routing import Rule

from localphi.models.manifest import Manifest
from localphi.models.store import ModelStore
from localphi.routes.answer_forms import ANSWERS, JSON, ref
from localphi.routes.openai_errors import codes
from localphi.routes.operations import Operation, described, operation_of

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_METHODS = ("GET", "POST", "DELETE")
_EVERYWHERE = (401, 403, 500)  # no key where one is needed; a foreign page or name; whatever breaks
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
_ABOUT = (
    "An OpenAI-compatible server for Phi models on this machine. Limits and defaults are those of the model "
    "that answers when none is named. What a body holds beside the fields below is passed over."
)


def blueprint(app: Flask, store: ModelStore, version: str) -> Blueprint:
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    @described(Operation("This description", {JSON: {"type": "object"}}))
    def openapi() -> Response:
        return jsonify(document(app, store.default().manifest, version))

    return routes


def document(app: Flask, manifest: Manifest, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every described route of `app`."""
    paths: dict[str, Any] = {}
    for rule in app.url_map.iter_rules():
        operation = operation_of(app.view_functions[rule.endpoint])
        if operation is not None:
            path = _PARAMETER.sub(r"{\1}", rule.rule)
            paths.setdefault(path, {}).update(_methods(rule, operation, manifest))
    return {
        "openapi": "3.1.0",
        "info": {"title": "localphi", "version": version, "description": _ABOUT, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": ANSWERS, "securitySchemes": _KEYS},
        "security": [{}, *({name: []} for name in _KEYS)],  # needed only where the server has keys
    }


def _methods(rule: Rule, operation: Operation, manifest: Manifest) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    if operation.description:
        entry["description"] = operation.description
    parameters = [*map(_path_parameter, _PARAMETER.findall(rule.rule)), *operation.parameters]
    if parameters:
        entry["parameters"] = parameters
    if operation.body is not None:
        content = {JSON: {"schema": operation.body.schema(manifest)}}
        entry["requestBody"] = {"required": True, "content": content}
    return {method.lower(): entry for method in _METHODS if method in (rule.methods or ())}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _responses(operation: Operation) -> dict[str, Any]:
    content = {media_type: {"schema": form} for media_type, form in operation.answers.items()}
    responses: dict[str, Any] = {}
    if content:
        responses["200"] = {"description": "The answer.", "content": content}
    if operation.may_be_empty:
        responses["204"] = {"description": "Done; there is nothing to say."}
    for status in sorted({*operation.failures, *_EVERYWHERE}):
        responses[str(status)] = _failure(status)
    return responses


def _failure(status: int) -> dict[str, Any]:
    known = codes(status)
    description = f"{HTTPStatus(status).phrase}." + (f" Codes: {', '.join(known)}." if known else "")
    return {"description": description, "content": {JSON: {"schema": ref("Error")}}}
