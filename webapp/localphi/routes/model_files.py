"""GET /models/<id>/<file>: the files of a model folder, for the page. Ranges, ETag = SHA-256.

With `?v=<SHA-256>` the address names one content for ever, and may be cached for ever. A download that began
before the model was updated is told so, instead of getting bytes of another file.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Response, abort, request, send_file

from localphi.models.manifest import MANIFEST_NAME, describe_file
from localphi.models.store import ModelStore
from localphi.routes.operations import Operation, described

_FOREVER = "public, max-age=31536000, immutable"
_SINGLE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")


def blueprint(store: ModelStore) -> Blueprint:
    routes = Blueprint("model_files", __name__)

    @routes.get("/models/<model_id>/<path:name>")
    @described(Operation("A file of a model", {"application/octet-stream": {}}, failures=(404, 416, 503)))
    def model_file(model_id: str, name: str) -> Response:
        folder = store.get(model_id)
        path = folder.file(name)
        if path is None or not path.is_file():
            abort(404, f"The model '{model_id}' has no file '{name}'.")
        if name == MANIFEST_NAME:
            sha256, media_type = describe_file(path).sha256, "application/json"
        else:
            sha256, media_type = folder.manifest.files[name].sha256, "application/octet-stream"
        version = request.args.get("v")
        if version not in (None, sha256):
            abort(404, f"The file '{name}' of '{model_id}' has changed. Reload the page to get the new one.")
        if not _SINGLE_RANGE.fullmatch(request.headers.get("Range", "bytes=0-")):
            request.environ.pop("HTTP_RANGE")  # several ranges, or none we know: the whole file is an answer
        response = send_file(path, media_type, conditional=True, etag=sha256)
        response.headers["Cache-Control"] = _FOREVER if version else "no-cache"  # always ask, mostly 304
        response.headers["Accept-Ranges"] = "bytes"
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            _hand_over(response, path)
        return response

    return routes


def _hand_over(response: Response, path: Path) -> None:
    """Let the server send a range by itself, as it does with a whole file.

    Else a thread would wait for the reader, and some slow readers of large files would hold all of them.
    """
    wrapper = request.environ.get("wsgi.file_wrapper")
    if wrapper is None or request.method == "HEAD":
        return
    response.close()  # of the file as it was opened for the whole
    file = path.open("rb")
    file.seek(response.content_range.start or 0)
    response.response = wrapper(file)  # ends after the Content-Length
    response.direct_passthrough = True
