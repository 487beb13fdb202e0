"""A tokenizer of a given size that nobody trained: each byte is a token, the others are made-up words.

For models with random weights: a prompt of n letters has n tokens, and any token is a readable text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from localphi.errors import CannotBuild
from localphi.models.genai_folder import TOKENIZER, TOKENIZER_CONFIG

_SPACE = "Ġ"  # a space, as byte-level tokenizers write it


def write_tokenizer(
    folder: Path, size: int, control: Mapping[int, str], *, begin: int, end: int, context: int
) -> None:
    """Write tokenizer.json and tokenizer_config.json with `size` tokens.

    control: tokens that are no text, by id. begin, end: ids among them. Raises CannotBuild for a size that
    cannot hold 256 bytes and the control tokens.
    """
    if size < 256 + len(control) or max(control) >= size:
        raise CannotBuild(f"A vocabulary of {size} tokens has no room for every byte and {max(control)}.")
    texts = _texts()
    vocabulary = {control.get(number) or next(texts): number for number in range(size)}
    document = _document(vocabulary, control)
    _write(folder / TOKENIZER, document)
    _write(
        folder / TOKENIZER_CONFIG,
        {
            "add_bos_token": False,
            "add_eos_token": False,
            "bos_token": control[begin],
            "clean_up_tokenization_spaces": False,
            "eos_token": control[end],
            "model_max_length": context,
            "pad_token": control[end],
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": control[end],
        },
    )


def _texts() -> Iterator[str]:
    """The 256 bytes as GPT-2 writes them, then words without end."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = 0
    for byte in range(256):
        if byte in printable:
            yield chr(byte)
        else:
            yield chr(256 + moved)
            moved += 1
    number = 0
    while True:
        yield f"{_SPACE}w{number}"
        number += 1


def _document(vocabulary: Mapping[str, int], control: Mapping[int, str]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": number, "content": text, **flags} for number, text in sorted(control.items())]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": dict(vocabulary),
            "merges": [],
        },
    }


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
