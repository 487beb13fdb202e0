"""Files that are known by their hash, as answers. Ranges, ETag = SHA-256.

With `?v=<SHA-256>` the address names one content for ever, and may be cached for ever. A download that began
before the file was replaced is told so, instead of getting bytes of another one.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from flask import Response, abort, request, send_file

BYTES = "application/octet-stream"
_FOREVER = "public, max-age=31536000, immutable"
_SINGLE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")


def send_content(path: Path, sha256: str, title: str, media_type: str = BYTES) -> Response:
    """The file, or the part that was asked for. title: what an error calls it, as a sentence begins."""
    version = request.args.get("v")
    if version not in (None, sha256):
        abort(404, f"{title} has changed. Reload the page to get the new one.")
    if not _SINGLE_RANGE.fullmatch(request.headers.get("Range", "bytes=0-")):
        request.environ.pop("HTTP_RANGE")  # several ranges, or none we know: the whole file is an answer
    response = send_file(path, media_type, conditional=True, etag=sha256)
    response.headers["Cache-Control"] = _FOREVER if version else "no-cache"  # always ask, mostly 304
    response.headers["Accept-Ranges"] = "bytes"
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        _hand_over(response, path)
    return response


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
