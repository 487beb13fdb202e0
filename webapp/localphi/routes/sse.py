"""Server-sent events: one line of data per event, comments to keep a silent connection alive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Response

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
MEDIA_TYPE = "text/event-stream; charset=utf-8"


def data(document: Mapping[str, Any]) -> bytes:
    """One event, in ASCII: some clients take U+2028 and its like for the end of a line."""
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()


def event(document: Mapping[str, Any]) -> bytes:
    """One event that is also named for the `type` of what it tells."""
    return f"event: {document['type']}\n".encode() + data(document)


def numbered(number: int, written: bytes) -> bytes:
    """An event that says which one it is; a client sends that back as Last-Event-ID."""
    return f"id: {number}\n".encode() + written


def response(events: Iterator[bytes], close: Callable[[], None]) -> Response:
    """A stream of events; `close` is called when it has been sent, or when nobody reads it any more."""
    stream = Response(events, content_type=MEDIA_TYPE, headers=HEADERS)
    stream.call_on_close(close)
    return stream
