"""What an adapter learns from: conversations in a JSONL file, as the model reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localphi.chat import ROLES, ChatRequest, Message
from localphi.config import disable_telemetry
from localphi.errors import CannotTrain
from localphi.models.store import ModelFolder


@dataclass(frozen=True)
class Text:
    """ids of a conversation up to the end of an answer, which begins at `answer`."""

    ids: tuple[int, ...]
    answer: int


def read_texts(path: Path, folder: ModelFolder, most_tokens: int) -> list[Text]:
    """Each line is {"messages": [{"role", "content"}, …]}; every answer in it is learnt.

    Raises CannotTrain, naming the line. Answers that end beyond `most_tokens` are left out.
    """
    disable_telemetry()
    from localphi.engine.prompt import prompt_text
    from localphi.engine.tokenizer import PhiTokenizer

    tokenizer = PhiTokenizer(folder.path)
    end = folder.manifest.prompt_format.end[0]
    texts: list[Text] = []
    found = 0
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        messages = _messages(line, f"{path}, line {number}")
        for place, message in enumerate(messages):
            if message.role != "assistant":
                continue
            prompt = prompt_text(folder.manifest, ChatRequest(tuple(messages[:place])))
            before = tokenizer.encode(prompt)
            ids = tokenizer.encode(prompt + message.content + end)
            found += 1
            if len(ids) <= most_tokens:
                texts.append(Text(tuple(ids), _common(before, ids)))
    if not texts:
        problem = f"none of at most {most_tokens} tokens" if found else "no answer of the assistant"
        raise CannotTrain(f"{path} has {problem} to learn from.")
    return texts


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise CannotTrain(f"{path} is no UTF-8 text: {error}.") from error


def _messages(line: str, where: str) -> list[Message]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise CannotTrain(f"{where} is no JSON: {error}.") from error
    entries = document.get("messages") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise CannotTrain(f'{where} must be {{"messages": [{{"role": …, "content": …}}, …]}}.')
    return [_message(entry, where) for entry in entries]


def _message(entry: Any, where: str) -> Message:
    role = entry.get("role") if isinstance(entry, dict) else None
    content = entry.get("content") if isinstance(entry, dict) else None
    for known in ROLES:
        if role == known and isinstance(content, str):
            return Message(known, content)
    raise CannotTrain(f"{where} has a message without a role ({', '.join(ROLES)}) or a text as content.")


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common beginning: a tokenizer may join the end of a prompt with what follows."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))
