"""/v1/streams: the rest of an answer whose connection was lost, and an end to one that nobody wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from localphi.engine.client import Gone
from localphi.errors import InvalidRequest
from localphi.routes import sse
from localphi.routes.answer_forms import EVENT_STREAM, EVENTS
from localphi.routes.answers import client_left
from localphi.routes.operations import Operation, described
from localphi.routes.streams import Streams

RESUMABLE = "X-Stream-Resumable"
STREAM_ID = "X-Stream-Id"
_LAST = "Last-Event-ID"
_MAX_DIGITS = 15
_NUMBER = {"type": "string", "pattern": f"^[0-9]{{1,{_MAX_DIGITS}}}$"}

RESUMABLE_PARAMETER: dict[str, Any] = {
    "name": RESUMABLE,
    "in": "header",
    "schema": {"enum": ["0", "1", "true", "false"]},
    "description": f"1: the stream survives its connection. Its id is in the answer's header {STREAM_ID}; "
    "the rest is at /v1/streams/{stream_id}.",
}
_RESUME = Operation(
    "The events of a resumable stream",
    {EVENT_STREAM: EVENTS},
    failures=(400, 404, 410),
    description="Events have numbers, in their `id:` lines. A new reader takes the place of the one before. "
    "204: there is nothing behind that number, the stream is over.",
    may_be_empty=True,
    parameters=(
        {
            "name": "from",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": 10**_MAX_DIGITS - 1, "default": 1},
            "description": "Number of the first event that is wanted.",
        },
        {
            "name": _LAST,
            "in": "header",
            "schema": _NUMBER,
            "description": "Number of the last event that came; wins over `from`.",
        },
    ),
)
_CANCEL = Operation("End a resumable stream", {}, failures=(404,), may_be_empty=True)


def blueprint(streams: Streams) -> Blueprint:
    routes = Blueprint("streams", __name__)

    @routes.get("/v1/streams/<stream_id>")
    @described(_RESUME)
    def resume_stream(stream_id: str) -> Response:
        stream = streams.find(stream_id)
        start = _start()
        if start > stream.next_number:
            raise InvalidRequest(
                f"'from' is {start}, but the next event of this stream is {stream.next_number}.", "from"
            )
        if stream.over and start == stream.next_number:
            return Response(status=204)  # tells an EventSource not to come again
        if request.method == "HEAD":  # takes nobody's place
            return Response(content_type=sse.MEDIA_TYPE)
        reader = stream.attach(start)
        return sse.response(stream.read(reader, start, client_left()), lambda: stream.detach(reader))

    @routes.delete("/v1/streams/<stream_id>")
    @described(_CANCEL)
    def cancel_stream(stream_id: str) -> Response:
        streams.cancel(stream_id)
        return Response(status=204)

    return routes


def check_header(stream: bool) -> None:
    """Raises InvalidRequest when what is no stream shall be resumable. Call it before the answer begins."""
    if _wanted() and not stream:
        raise InvalidRequest(f"The header {RESUMABLE} needs 'stream' to be true.", "stream")


def respond(
    streams: Streams, events: Callable[[Gone], Iterator[bytes]], close: Callable[[], None], gone: Gone
) -> Response:
    """A stream of events, resumable where the request at hand wants it. close: frees the answer."""
    if not _wanted():
        return sse.response(events(gone), close)
    stream = streams.open(events, close)
    reader = stream.FIRST_READER
    response = sse.response(stream.read(reader, 1, gone), lambda: stream.detach(reader))
    response.headers[STREAM_ID] = stream.id
    return response


def _wanted() -> bool:
    value = request.headers.get(RESUMABLE, "0").strip().lower()
    if value not in ("0", "1", "true", "false"):
        raise InvalidRequest(f"The header {RESUMABLE} must be 1 or 0, but is {value[:20]!r}.", RESUMABLE)
    return value in ("1", "true")


def _start() -> int:
    last = request.headers.get(_LAST)
    if last is not None:
        return _number(last.strip(), _LAST) + 1
    start = _number(request.args.get("from", "1"), "from")
    if start == 0:
        raise InvalidRequest("'from' must be a number from 1, but is 0.", "from")
    return start


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequest(f"'{name}' must be the number of an event, but is {text[:20]!r}.", name)
    return int(text)
