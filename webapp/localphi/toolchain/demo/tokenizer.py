"""Byte-level BPE with Phi's control tokens, in files that transformers, ORT GenAI and the browser read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from localphi.toolchain.demo.settings import CONTROL_TOKENS, END_OF_TEXT, SHAPE

# Words stand without the space before them, and digits alone: so "Oslo" is the same tokens in a sentence and
# between quotes, and copying it is copying tokens. ONNX Runtime GenAI knows these parts by heart; it has no
# regular expressions of Unicode classes in general.
_PIECES = r"[\p{L}]+|[\p{N}]| ?[^\s\p{L}\p{N}]+|\s+"

# Phi-4-mini's form: tools stand inside the system turn; every turn is <|role|>content<|end|>.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + "
    "'<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}"
    "{% else %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, learnt from `texts`, into `folder`."""
    document = _learn(texts)
    document["added_tokens"] = [
        _added_token(name, SHAPE.text_vocabulary + n) for n, name in enumerate(CONTROL_TOKENS)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "tokenizer.json", document)
    _write_json(folder / "tokenizer_config.json", tokenizer_config())


def tokenizer_config() -> dict[str, Any]:
    """The companion file: class, special tokens, context and chat template."""
    added = (_added_token(name, SHAPE.text_vocabulary + n) for n, name in enumerate(CONTROL_TOKENS))
    return {
        "add_bos_token": False,
        "add_eos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token.pop("id")): token for token in added},
        "bos_token": END_OF_TEXT,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT,
        "model_max_length": SHAPE.context,
        "pad_token": END_OF_TEXT,
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": END_OF_TEXT,
    }


def load_tokenizer(folder: Path) -> Any:
    """The `tokenizers.Tokenizer` of a folder."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def control_ids() -> dict[str, int]:
    """Token id of every control token."""
    return {name: SHAPE.text_vocabulary + n for n, name in enumerate(CONTROL_TOKENS)}


def _learn(texts: Iterable[str]) -> dict[str, Any]:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE.text_vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes, so that any text round-trips
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learnt = tokenizer.get_vocab_size()
    if learnt != SHAPE.text_vocabulary:
        raise ValueError(f"wanted {SHAPE.text_vocabulary} text tokens, got {learnt}: give more training text")
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    return document


def _added_token(content: str, token_id: int) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"id": token_id, "content": content, **flags}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
