"""GET /, GET /bench: the built pages and their assets."""

from __future__ import annotations

import re
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, send_from_directory
from werkzeug.exceptions import HTTPException

# Not the machine's own table: a registry entry of Windows may make text/plain of a script.
_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain",
}
_NAME = "page"
_PLAIN_NAME = re.compile(r"/[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_FOREVER_S = 365 * 24 * 3600
_NOT_BUILT = (
    "The page is not built. Run `make serve` in the source folder, "
    "or `npm ci && npm run build` in static/. The API under /v1 works without it."
)


def blueprint(page_dir: Path) -> Blueprint:
    routes = Blueprint(_NAME, __name__)

    @routes.get("/")
    def index() -> Response:
        if not (page_dir / "index.html").is_file():
            abort(503, _NOT_BUILT)
        return _send("index.html")

    @routes.get("/bench")
    def bench() -> Response:
        if not (page_dir / "bench.html").is_file():
            abort(503, _NOT_BUILT)
        return _send("bench.html")

    @routes.get("/<path:name>")
    def asset(name: str) -> Response:
        if not _is_file(page_dir / name):
            abort(404, f"There is no '/{name[:100]}' here.")
        return _send(name)

    def _send(name: str) -> Response:
        media_type = _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
        response = send_from_directory(page_dir, name, mimetype=media_type, conditional=True)
        hashed = name.startswith("assets/")
        response.headers["Cache-Control"] = (
            f"public, max-age={_FOREVER_S}, immutable" if hashed else "no-cache"
        )
        return response

    return routes


def is_page_file(app: Flask, page_dir: Path, path: str) -> bool:
    """Whether the path of a request is a file of the page. Only plain names are: no `..`, no `%`.

    The router is asked, too: a file in a folder `v1` must not open the route of its name.
    """
    if _PLAIN_NAME.fullmatch(path) is None or not _is_file(page_dir / path[1:]):
        return False
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path)
    except HTTPException:
        return False
    return bool(endpoint == f"{_NAME}.asset")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return False
