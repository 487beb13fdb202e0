"""The bytes of single tokens, from tokenizer.json; text decoders only give what is a whole character."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_SPACE = "\u2581"  # SentencePiece's


class TokenBytes:
    """tokens[id] → bytes, empty for an id that stands for nothing."""

    def __init__(self, folder: Path) -> None:
        document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._texts: dict[int, str] = {token: text for text, token in document["model"]["vocab"].items()}
        self._added: dict[int, str] = {entry["id"]: entry["content"] for entry in document["added_tokens"]}
        self._byte_level = _is_byte_level(document.get("decoder") or {})

    def __getitem__(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        text = self._texts.get(token, "")
        if self._byte_level:
            return bytes(_BYTES[character] for character in text)
        if len(text) == len("<0x00>") and text.startswith("<0x"):
            return bytes.fromhex(text[3:5])
        return text.replace(_SPACE, " ").encode()


def _is_byte_level(decoder: dict[str, Any]) -> bool:
    return any(step.get("type") == "ByteLevel" for step in decoder.get("decoders", [decoder]))


def _byte_characters() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: printable Latin-1 stays, the rest moves to U+0100 ff."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(0x100) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(0x100 + place): byte for place, byte in enumerate(moved)}


_BYTES = _byte_characters()
