"""The one place where an error becomes an HTTP status and OpenAI's error object."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from localphi.errors import (
    AdapterInvalid,
    AdapterNotFound,
    ContextLengthExceeded,
    EngineBusy,
    EngineStopping,
    InvalidRequest,
    LocalphiError,
    MemoryInUse,
    ModelDamaged,
    ModelFolderInvalid,
    ModelInUse,
    ModelNotFound,
    ModelTooLarge,
    PullBusy,
    PullNotFound,
    RequestAbandoned,
    StreamNotFound,
    StreamTrimmed,
    ToolFailed,
    ToolNotFound,
    UnsupportedParameter,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
    WorkerDied,
    WorkerKeepsDying,
)

# First match counts: (error, status, type, code).
_TABLE: tuple[tuple[type[LocalphiError], int, str, str | None], ...] = (
    (ContextLengthExceeded, 400, "invalid_request_error", "context_length_exceeded"),
    (UnsupportedParameter, 400, "invalid_request_error", "unsupported_parameter"),
    (InvalidRequest, 400, "invalid_request_error", None),
    (ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (AdapterNotFound, 404, "invalid_request_error", "adapter_not_found"),
    (AdapterInvalid, 400, "invalid_request_error", "adapter_invalid"),
    (PullNotFound, 404, "invalid_request_error", "pull_not_found"),
    (ToolNotFound, 404, "invalid_request_error", "tool_not_found"),
    (ToolFailed, 422, "invalid_request_error", "tool_failed"),
    (PullBusy, 409, "invalid_request_error", "pull_busy"),
    (ModelInUse, 409, "invalid_request_error", "model_in_use"),
    (StreamNotFound, 404, "invalid_request_error", "stream_not_found"),
    (StreamTrimmed, 410, "invalid_request_error", "stream_trimmed"),
    (EngineBusy, 429, "rate_limit_error", "queue_full"),
    (ModelTooLarge, 503, "server_error", "model_too_large"),
    (MemoryInUse, 503, "server_error", "memory_in_use"),
    (ModelDamaged, 503, "server_error", "model_damaged"),
    (ModelFolderInvalid, 503, "server_error", "model_invalid"),
    (RequestAbandoned, 499, "server_error", "client_left"),
    (EngineStopping, 503, "server_error", "stopping"),
    (WorkerDied, 503, "server_error", "worker_died"),
    (UpstreamUnreachable, 503, "server_error", "upstream_unreachable"),
    (UpstreamRefused, 502, "server_error", "upstream_refused"),
    (UpstreamLost, 502, "server_error", "upstream_lost"),
    (LocalphiError, 500, "server_error", "engine_failed"),
)


def codes(status: int) -> list[str]:
    """The codes that errors of this status may have."""
    return [code for _, of_status, _, code in _TABLE if code and of_status == status]


def error_object(error: LocalphiError) -> dict[str, Any]:
    """OpenAI's error body; context_length_exceeded carries both numbers as fields too."""
    _, kind, code = _look_up(error)
    body: dict[str, Any] = {"message": error.message, "type": kind, "param": _param(error), "code": code}
    if isinstance(error, ContextLengthExceeded):
        body |= {"prompt_tokens": error.prompt_tokens, "context_length": error.context_length}
    return {"error": body}


def install(app: Flask) -> None:
    """Register the handlers: our errors, and whatever Flask itself refuses."""
    app.register_error_handler(LocalphiError, _localphi_error)
    app.register_error_handler(HTTPException, _http_error)


def _localphi_error(error: LocalphiError) -> Response:
    status, _, _ = _look_up(error)
    response = jsonify(error_object(error))
    response.status_code = status
    if isinstance(error, EngineBusy | MemoryInUse | UpstreamUnreachable | WorkerKeepsDying):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _http_error(error: HTTPException) -> Response:
    kind = "invalid_request_error" if (error.code or 500) < 500 else "server_error"
    body = {"message": error.description, "type": kind, "param": None, "code": None}
    headers = error.get_response().headers
    response = jsonify(error=body)
    response.status_code = error.code or 500
    for name in ("Allow", "Content-Range", "Location"):
        if name in headers:  # what belongs to 405, 416 and redirects
            response.headers[name] = headers[name]
    return response


def _look_up(error: LocalphiError) -> tuple[int, str, str | None]:
    return next((status, kind, code) for match, status, kind, code in _TABLE if isinstance(error, match))


def _param(error: LocalphiError) -> str | None:
    if isinstance(error, InvalidRequest):
        return error.param
    if isinstance(error, AdapterInvalid | AdapterNotFound):
        return "adapter"
    return "model" if isinstance(error, ModelNotFound) else None
