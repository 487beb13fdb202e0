"""Server-sent events survive every way of cutting them into pieces."""

from __future__ import annotations

import pytest

from localphi_agents.sse import EventReader

STREAM = (
    ": keepalive\n\n"
    'data: {"text":"é🙂\u2028\u0085"}\n\n'  # line ends to str.splitlines, text to JSON
    "event: note\ndata:first\ndata: second\n\n"
    "data: with return\r\n\r\n"
    "data: [DONE]\n\n"
    "data: unfinished"
).encode()
EVENTS = ['{"text":"é🙂\u2028\u0085"}'.encode(), b"first\nsecond", b"with return", b"[DONE]"]


def read(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_events_are_the_same_wherever_the_stream_is_cut(at: int) -> None:
    assert read(STREAM[:at], STREAM[at:]) == EVENTS


def test_events_are_the_same_byte_by_byte() -> None:
    assert read(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == EVENTS


def test_an_event_is_given_out_as_soon_as_it_is_complete() -> None:
    reader = EventReader()
    assert list(reader.feed(b"data: one\n")) == []
    assert list(reader.feed(b"\ndata: tw")) == [b"one"]
    assert list(reader.feed(b"o\n\n")) == [b"two"]
