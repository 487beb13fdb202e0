"""Text to token ids and back, by ONNX Runtime GenAI, made equal to the reference implementation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from localphi.engine.tokenbytes import TokenBytes


class PhiTokenizer:
    """The tokenizer of a model folder. Loads no weights."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = og.Tokenizer(str(folder))
        self._strips_first_space = _strips_first_space(folder)
        self.end_ids = frozenset(int(token) for token in self._tokenizer.eos_token_ids)

    def encode(self, text: str) -> list[int]:
        return [int(token) for token in self._tokenizer.encode(text)]

    def token_id(self, text: str) -> int | None:
        """The id of an added token, None when there is no such token."""
        token = int(self._tokenizer.to_token_id(text))
        return token if token >= 0 else None

    def token_bytes(self, token: int) -> bytes:
        """What one token stands for, perhaps a part of a character; empty where it stands for nothing."""
        return self._bytes[token]

    @cached_property
    def _bytes(self) -> TokenBytes:
        return TokenBytes(self._folder)

    def decode(self, ids: Sequence[int]) -> str:
        return self.strip(str(self._tokenizer.decode(list(ids))))

    def stream(self, *, begun: bool = False) -> TextStream:
        """A decoder for one answer; never share it. begun: the answer goes on with a text."""
        return TextStream(self, self._tokenizer.create_stream(), begun)

    def strip(self, beginning: str) -> str:
        """The beginning of a decoded text without the space that SentencePiece puts before the first word."""
        return beginning.removeprefix(" ") if self._strips_first_space else beginning


class TextStream:
    """Text of one answer, token by token; holds back what is not yet a whole character."""

    def __init__(self, tokenizer: PhiTokenizer, stream: Any, begun: bool) -> None:
        self._tokenizer = tokenizer
        self._stream = stream
        self._begun = begun

    def decode(self, token: int) -> str:
        piece = str(self._stream.decode(token))
        if self._begun or not piece:
            return piece
        self._begun = True
        return self._tokenizer.strip(piece)


def _strips_first_space(folder: Path) -> bool:
    """Whether tokenizer.json asks decoders to strip a space at the start, which GenAI 0.18 does not do.

    Seen with Phi-3: GenAI decodes the ids of "Hello" to " Hello", the reference implementation to "Hello".
    """
    decoder = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")).get("decoder") or {}
    steps = decoder.get("decoders", [decoder])
    return any(step.get("type") == "Strip" and step.get("start", 0) > 0 for step in steps)
