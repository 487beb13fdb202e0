"""Server-sent events, read from bytes that arrive in any pieces."""

from __future__ import annotations

from collections.abc import Iterator


class EventReader:
    """Only `data` counts; comments (keepalives) and other fields are passed over.

    Lines end with a line feed, and nothing else. A text line reader (httpx has one) also ends them at U+2028,
    U+0085 and others, which may stand unescaped in JSON: an answer that contains one would fall apart.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of each event that this piece completes."""
        first, *others = piece.split(b"\n")
        self._line += first
        for start in others:
            line = bytes(self._line).removesuffix(b"\r")
            self._line[:] = start
            if line:
                self._take(line)
            elif self._data:
                yield b"\n".join(self._data)
                self._data.clear()

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
