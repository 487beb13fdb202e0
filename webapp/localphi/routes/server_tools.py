"""Tools that the server runs for its page: plugins and documents that `localphi serve` was started with.

The page asks its person before each call. Whoever may use the server may call them here, so a server has none
but those it was told of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from localphi.chat import ServerTool
from localphi.errors import ToolNotFound
from localphi.routes.answer_forms import JSON, ref
from localphi.routes.fields import Body, json_object, wrong
from localphi.routes.forms import BodyForm
from localphi.routes.operations import Operation, described

_FORM = BodyForm(
    lambda fields, _: _arguments(fields),
    {"arguments": {"path": "notes.md"}},
    {"arguments": {"type": "object", "description": "As the tool's parameters say."}},
)
_LIST = Operation("The tools that this server runs for its page", {JSON: ref("ServerTools")})
_CALL = Operation(
    "Run a tool of this server",
    {JSON: ref("ToolResult")},
    _FORM,
    failures=(400, 404, 413, 422),
    description="422: it has no result, and the message says why, for the model to read.",
)


def blueprint(tools: Sequence[ServerTool]) -> Blueprint:
    routes = Blueprint("server_tools", __name__)
    by_name = {one.tool.name: one for one in tools}

    @routes.get("/tools")
    @described(_LIST)
    def list_tools() -> Response:
        return jsonify(tools=[_document(one) for one in tools])

    @routes.post("/tools/<tool_name>")
    @described(_CALL)
    def call_tool(tool_name: str) -> Response:
        arguments = _arguments(json_object(request.get_data()))
        if tool_name not in by_name:
            raise ToolNotFound(tool_name, tuple(by_name))
        return jsonify(result=by_name[tool_name].run(arguments))

    return routes


def _arguments(fields: Body) -> Mapping[str, Any]:
    arguments = fields.get("arguments")
    if not isinstance(arguments, dict):
        raise wrong("arguments", "an object", arguments)
    return arguments


def _document(one: ServerTool) -> dict[str, Any]:
    tool = one.tool
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
    }
