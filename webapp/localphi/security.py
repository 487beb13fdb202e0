"""The WSGI wrapper in front of every route: who may ask, and what browsers may do with the answers.

* Host must be a loopback name: a foreign page that rebinds its DNS name to 127.0.0.1 gets 403.
* A request with an Origin must come from the page itself: other sites cannot spend this machine's time.
* COOP, COEP and CORP make the page cross-origin isolated, which WASM threads need; CSP keeps it to itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = (
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


class SecureWsgi:
    """Checks Host and Origin, then adds the headers to whatever the application answers."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = _refusal(environ)
        if refusal is not None:
            return _forbid(refusal, start_response)
        return self._app(environ, _with_headers(start_response))


def _refusal(environ: WSGIEnvironment) -> str | None:
    host = str(environ.get("HTTP_HOST", ""))
    if _hostname(host) not in LOOPBACK_NAMES:
        return f"This server answers on localhost only, but was asked as '{host}'."
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and _address(str(origin)) != host:
        return f"Pages of '{origin}' may not use this server; only its own page may."
    return None


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _address(origin: str) -> str:
    """Host and port of an origin, empty for `null` and whatever else is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _forbid(reason: str, start_response: StartResponse) -> Iterable[bytes]:
    error = {"message": reason, "type": "permission_error", "param": None, "code": "forbidden"}
    body = json.dumps({"error": error}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *HEADERS]
    start_response("403 Forbidden", headers)
    return [body]


def _with_headers(start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        return start_response(status, [*headers, *HEADERS], exc_info)

    return start
