"""GET /: the built page and its assets."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort, send_from_directory

_FOREVER_S = 365 * 24 * 3600
_NOT_BUILT = (
    "The page is not built. Run `make serve` in the source folder, "
    "or `npm ci && npm run build` in static/. The API under /v1 works without it."
)


def blueprint(page_dir: Path) -> Blueprint:
    routes = Blueprint("page", __name__)

    @routes.get("/")
    def index() -> Response:
        if not (page_dir / "index.html").is_file():
            abort(503, _NOT_BUILT)
        return _send("index.html")

    @routes.get("/<path:name>")
    def asset(name: str) -> Response:
        if not (page_dir / name).is_file():
            abort(404, f"There is no '/{name}' here.")
        return _send(name)

    def _send(name: str) -> Response:
        response = send_from_directory(page_dir, name, conditional=True)
        hashed = name.startswith("assets/")
        response.headers["Cache-Control"] = (
            f"public, max-age={_FOREVER_S}, immutable" if hashed else "no-cache"
        )
        return response

    return routes
