"""ONNX Runtime GenAI's tokenizer against vectors of the reference; vitest does the same for the page."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest

from localphi.config import disable_telemetry
from serving import VECTORS
from tokenizer_folders import TOKENIZERS

disable_telemetry()

from localphi.engine.tokenizer import PhiTokenizer  # noqa: E402  telemetry goes off first

VECTOR_FILE = json.loads((VECTORS / "tokenizer.json").read_text(encoding="utf-8"))
MODEL = {
    "type": "phi3",
    "context_length": 4096,
    "vocab_size": 32064,
    "decoder": {"filename": "none.onnx"},
    "bos_token_id": 1,
    "eos_token_id": [0],
    "pad_token_id": 0,
}
CASES = [(entry["tokenizer"], case) for entry in VECTOR_FILE for case in entry["cases"]]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PhiTokenizer]:
    """Those that are here. GenAI wants a genai_config.json beside the tokenizer files."""
    found = {}
    for name, folder in TOKENIZERS.items():
        if not (folder / "tokenizer.json").is_file():
            continue
        copy = tmp_path_factory.mktemp(name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(folder / file, copy / file)
        (copy / "genai_config.json").write_text(json.dumps({"model": MODEL}), encoding="utf-8")
        found[name] = PhiTokenizer(copy)
    return found


def _name(value: Any) -> str:
    return value if isinstance(value, str) else repr(value["text"])


def _tokenizer(tokenizers: dict[str, PhiTokenizer], name: str) -> PhiTokenizer:
    if name not in tokenizers:
        pytest.skip(f"the tokenizer files of {name} are not on this machine")
    return tokenizers[name]


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=lambda value: value if isinstance(value, str) else repr(value["text"])
)
def test_encoding_and_decoding_equal_the_reference(
    tokenizers: dict[str, PhiTokenizer], name: str, case: dict[str, Any]
) -> None:
    tokenizer = _tokenizer(tokenizers, name)
    assert tokenizer.encode(case["text"]) == case["ids"]
    assert tokenizer.decode(case["ids"]) == case["decoded"]


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=lambda value: value if isinstance(value, str) else repr(value["text"])
)
def test_a_stream_gives_the_same_text_and_never_half_a_character(
    tokenizers: dict[str, PhiTokenizer], name: str, case: dict[str, Any]
) -> None:
    stream = _tokenizer(tokenizers, name).stream()
    pieces = [stream.decode(token) for token in case["ids"]]
    assert "".join(pieces) == case["decoded"]
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=lambda value: value if isinstance(value, str) else repr(value["text"])
)
def test_the_bytes_of_the_tokens_are_the_text(
    tokenizers: dict[str, PhiTokenizer], name: str, case: dict[str, Any]
) -> None:
    tokenizer = _tokenizer(tokenizers, name)
    joined = b"".join(tokenizer.token_bytes(token) for token in case["ids"])
    shown = re.sub(r"<\|(user|end|assistant)\|>", "", joined.decode())  # decoders leave control tokens out
    assert tokenizer.strip(shown) == case["decoded"]


def test_an_id_beyond_the_tokenizer_has_no_bytes(tokenizers: dict[str, PhiTokenizer]) -> None:
    assert _tokenizer(tokenizers, "localphi-demo").token_bytes(10**6) == b""
