"""Small PDFs, written as the format has them."""

from __future__ import annotations

_LATIN = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
# Names a table of codes instead of carrying one, as older Chinese documents do.
_CHINESE = (
    b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-H /DescendantFonts"
    b" [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light"
    b" /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 4 >>"
    b" /FontDescriptor << /Type /FontDescriptor /FontName /STSong-Light /Flags 4 /FontBBox [0 0 1000 1000]"
    b" /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >> >>] >>"
)
# No password opens a document with these hashes, the empty one included.
_LOCK = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >>"


def pdf(*pages: str, chinese: bool = False, locked: bool = False) -> bytes:
    """A document with these pages, of lines below each other. An empty page is a grey picture."""
    count = len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * index) for index in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] /MediaBox [0 0 595 842] >>" % (count, kids),
        _CHINESE if chinese else _LATIN,
    ]
    for index, text in enumerate(pages):
        content = _content(text, chinese)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
            % (5 + 2 * index),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    return _file(objects, b"/Encrypt %s /ID [<00> <00>]" % _LOCK if locked else b"")


def _content(text: str, chinese: bool) -> bytes:
    if not text:
        return b"q 400 0 0 400 90 200 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI Q"
    encoding = "utf-16-be" if chinese else "cp1252"
    lines = [b"<%s> Tj T*" % line.encode(encoding).hex().encode() for line in text.splitlines()]
    return b"BT /F1 8 Tf 10 TL 72 760 Td %s ET" % b" ".join(lines)


def _file(objects: list[bytes], extra: bytes) -> bytes:
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n" % size + b"".join(b"%010d 00000 n \n" % at for at in offsets)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, extra, len(out))
    return out + table + trailer
