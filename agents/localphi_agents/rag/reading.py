"""Files as sections of text: what stands under which heading, on which page.

Markdown is cut at its headings, PDF at its pages, with its outline as headings; other text is one section.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localphi_agents.rag.errors import UnreadableFile

if TYPE_CHECKING:
    from pypdf import PdfReader

MARKDOWN = {".md", ".markdown", ".mdx"}
TEXT = {".txt", ".text", ".rst", ".log", ".csv", ".tsv", ".org", ".adoc"}
PDF = {".pdf"}
READABLE = MARKDOWN | TEXT | PDF

MAX_FILE_BYTES = 50_000_000
_MAX_PAGES = 5_000
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_SHOWN_HEADING = 120


@dataclass(frozen=True)
class Section:
    """heading: those above it, too, apart by " > "; page: from 1, of a PDF only."""

    text: str
    heading: str = ""
    page: int | None = None


def sections(path: Path, data: bytes) -> list[Section]:
    """The file's text in its order. Raises UnreadableFile."""
    kind = path.suffix.lower()
    found = list(_pages(path.name, data) if kind in PDF else _parts(kind, _text(path.name, data)))
    if not any(section.text.strip() for section in found):
        hint = "; perhaps it is scanned" if kind in PDF else ""
        raise UnreadableFile(f"{path.name} holds no text{hint}.")
    return found


def _text(name: str, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise UnreadableFile(f"{name} is not a text file.")
    return data.decode("utf-8-sig", errors="replace")


def _parts(kind: str, text: str) -> Iterator[Section]:
    if kind not in MARKDOWN:
        yield Section(text)
        return
    titles: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        heading = None if fence or mark else _HEADING.match(line)
        if heading is None:
            lines.append(line)
            continue
        yield Section("\n".join(lines), _path(titles))
        depth, lines = len(heading[1]), []
        titles = [*((level, title) for level, title in titles if level < depth), (depth, heading[2])]
    yield Section("\n".join(lines), _path(titles))


def _path(titles: list[tuple[int, str]]) -> str:
    return " > ".join(re.sub(r"[*_`]", "", title)[:_SHOWN_HEADING] for _, title in titles if title)


def _pages(name: str, data: bytes) -> Iterator[Section]:
    from pypdf import PdfReader  # noqa: PLC0415 - only those who have PDFs need it

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every flaw that it gets over
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableFile(f"{name} is locked with a password.")
        if len(reader.pages) > _MAX_PAGES:
            raise UnreadableFile(f"{name} has more than {_MAX_PAGES} pages.")
        headings = _outline(reader)
        heading = ""
        for number, page in enumerate(reader.pages, 1):
            heading = headings.get(number, heading)
            yield Section(page.extract_text(), heading, number)
    except UnreadableFile:
        raise
    except Exception as error:  # damaged files make it raise anything from KeyError to RecursionError
        raise UnreadableFile(f"{name} cannot be read as PDF ({type(error).__name__}).") from error


def _outline(reader: PdfReader) -> dict[int, str]:
    """The last heading that begins on each page, with those above it; nothing if the outline is damaged."""
    found: dict[int, str] = {}

    def walk(items: list[Any], above: list[tuple[int, str]], depth: int) -> None:
        for item in items:
            if isinstance(item, list):
                walk(item, above, depth + 1)
                continue
            above[:] = [*above[:depth], (depth, " ".join(str(item.title).split()))]
            page = reader.get_destination_page_number(item)
            if page is not None and page >= 0:
                found[page + 1] = _path(above)

    try:
        walk(reader.outline, [], 0)
    except Exception:  # as above; the pages may be fine all the same
        return {}
    return found
