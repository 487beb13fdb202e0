"""Server-sent events: one line of data per event, comments to keep a silent connection alive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
MEDIA_TYPE = "text/event-stream; charset=utf-8"


def data(document: Mapping[str, Any]) -> bytes:
    """One event, in ASCII: some clients take U+2028 and its like for the end of a line."""
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()
