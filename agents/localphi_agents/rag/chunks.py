"""Sections as passages: short enough for a small model, each with the end of the one before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localphi_agents.rag.reading import Section

PASSAGE_CHARACTERS = 900
OVERLAP_CHARACTERS = 120

# Where a text may be cut, the best place first.
_SEAMS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?。！？])\s*"), re.compile(r"\s+"))


@dataclass(frozen=True)
class Chunk:
    text: str
    heading: str
    page: int | None


def chunks(
    sections: Iterable[Section], size: int = PASSAGE_CHARACTERS, overlap: int = OVERLAP_CHARACTERS
) -> Iterator[Chunk]:
    """Passages of up to size characters, cut at paragraphs, else lines, sentences, words.

    A passage never spans two headings or two pages. The overlap counts into the size.
    Raises ValueError unless 0 <= overlap < size / 2.
    """
    if not 0 <= overlap < size / 2:
        raise ValueError(f"overlap must be at least 0 and under half of size, {size}, but is {overlap}.")
    for section in sections:
        tail = ""
        for part in _packed(section.text, size - overlap):
            text = f"{tail}\n{part}" if tail else part
            yield Chunk(text.strip(), section.heading, section.page)
            tail = _tail(part, overlap - 1)


def _packed(text: str, size: int) -> Iterator[str]:
    """Pieces joined as long as they fit."""
    held = ""
    for piece in _pieces(text, size, 0):
        if held and len(held) + len(piece) > size:
            yield held
            held = ""
        held += piece
    if held.strip():
        yield held


def _pieces(text: str, size: int, seam: int) -> Iterator[str]:
    """The text, cut until no piece is longer than size. What is at a seam stays with the piece before."""
    if len(text) <= size:
        if text.strip():
            yield text
        return
    if seam == len(_SEAMS):
        yield from (text[start : start + size] for start in range(0, len(text), size))
        return
    start = 0
    for match in _SEAMS[seam].finditer(text):
        if match.end() > start:
            yield from _pieces(text[start : match.end()], size, seam + 1)
            start = match.end()
    yield from _pieces(text[start:], size, seam + 1)


def _tail(text: str, length: int) -> str:
    """The last words, up to length characters."""
    text = text.strip()
    if length <= 0:
        return ""
    if len(text) <= length:
        return text
    tail = text[-length:]
    word = re.search(r"\s", tail)
    return tail[word.end() :].strip() if word else tail
