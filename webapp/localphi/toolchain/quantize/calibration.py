"""Text to calibrate on and text to judge by, and what the layers of a model see while it reads.

Both texts are conversations drawn from the demo's corpus. Which of the two a question belongs to is decided
by its hash, so no question of one is in the other, however many are drawn.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from localphi.config import disable_telemetry
from localphi.errors import InvalidRequest
from localphi.models.manifest import PromptFormat
from localphi.toolchain.demo.corpus import Corpus
from localphi.toolchain.demo.facts import load_knowledge
from localphi.toolchain.demo.settings import (
    ASSISTANT,
    DEVELOPMENT_CASES,
    SYSTEM,
    TOOL,
    TOOL_CALL,
    TOOL_CALL_CLOSE,
    TOOL_CLOSE,
    TOOL_RESPONSE,
    USER,
    Turn,
)
from localphi.toolchain.evaluate.cases import load_cases
from localphi.toolchain.quantize.awq import Inputs
from localphi.toolchain.quantize.runner import Runner

Part = Literal["calibration", "evaluation"]
MOST_TOKENS = 512  # of a row; longer conversations are cut
_ROLES = {SYSTEM: "system", USER: "user", ASSISTANT: "assistant", TOOL_RESPONSE: "tool"}


@dataclass(frozen=True)
class Row:
    """The ids of one text, and for each whether it is part of an answer."""

    ids: tuple[int, ...]
    answers: tuple[bool, ...]


def conversation_rows(folder: Path, prompt_format: PromptFormat, part: Part, count: int) -> list[Row]:
    """`count` conversations as the model reads them: help, tools and JSON in turn. Always the same."""
    disable_telemetry()
    from localphi.engine.tokenizer import PhiTokenizer

    tokenizer = PhiTokenizer(folder)
    return [_row(turns, prompt_format, tokenizer.encode) for turns in conversations(part, count)]


def text_rows(folder: Path, path: Path, count: int) -> list[Row]:
    """The first `count` pieces of a text file, of `MOST_TOKENS` tokens each; all of it counts as answers.

    Raises InvalidRequest for a file that cannot be read, or that has no two tokens.
    """
    disable_telemetry()
    from localphi.engine.tokenizer import PhiTokenizer

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} cannot be read as UTF-8 text: {error}.", "text") from None
    ids = PhiTokenizer(folder).encode(text)
    pieces = [ids[start : start + MOST_TOKENS] for start in range(0, len(ids), MOST_TOKENS)]
    rows = [Row(tuple(piece), (True,) * len(piece)) for piece in pieces[:count] if len(piece) > 1]
    if not rows:
        raise InvalidRequest(f"{path} has no text to read.", "text")
    return rows


def layer_inputs(
    runner: Runner,
    rows: Sequence[Row],
    widths: Mapping[str, int],
    on_row: Callable[[], object] = lambda: None,
) -> dict[str, Inputs]:
    """What the tensors were while the rows were read; widths: their last dimensions, by name."""
    found = {name: Inputs(width) for name, width in widths.items()}
    for row in rows:
        for name, value in zip(widths, runner.run(row.ids, list(widths)), strict=True):
            found[name].add(value.reshape(-1, widths[name]))
        on_row()
    return found


def part_of(question: str) -> Part:
    """Which of the two texts a question belongs to."""
    return "evaluation" if hashlib.sha256(question.lower().encode()).digest()[0] % 2 else "calibration"


def conversations(part: Part, count: int) -> Iterator[list[Turn]]:
    """`count` conversations of the demo's corpus, none of whose questions belongs to the other text."""
    corpus = _corpus()
    rng = random.Random(f"quantize/{part}")
    kinds = (corpus.help, lambda rng: corpus.tools(rng, 4), corpus.json)
    for number in range(count):
        draw = kinds[number % len(kinds)]
        while True:
            turns = draw(rng)
            if {part_of(text) for role, text in turns if role == USER} == {part}:
                break
        yield turns


@cache
def _corpus() -> Corpus:
    return Corpus(load_knowledge(), load_cases(), load_cases(DEVELOPMENT_CASES))


def _row(turns: Sequence[Turn], prompt_format: PromptFormat, encode: Callable[[str], list[int]]) -> Row:
    """Where an answer begins and ends is told by how many tokens the text up to there has."""
    text = prompt_format.prefix
    spans = []
    for role, content in turns:
        opening, closing = _pair(prompt_format, _ROLES[role])
        begin = text + opening
        text = begin + _in_format(content, prompt_format) + closing
        if role == ASSISTANT:
            spans.append((len(encode(begin)), len(encode(text))))
    ids = encode(text)[:MOST_TOKENS]
    answers = [any(begin <= position < end for begin, end in spans) for position in range(len(ids))]
    return Row(tuple(ids), tuple(answers))


def _pair(prompt_format: PromptFormat, role: str) -> tuple[str, str]:
    return prompt_format.roles.get(role) or prompt_format.roles["user"]


def _in_format(content: str, prompt_format: PromptFormat) -> str:
    """The demo's tokens around tools and calls as those of the model; left out where it has none."""
    tools, call = prompt_format.tools or ("", ""), prompt_format.tool_call or ("", "")
    pairs = zip((TOOL, TOOL_CLOSE, TOOL_CALL, TOOL_CALL_CLOSE), (*tools, *call), strict=True)
    for ours, theirs in pairs:
        content = content.replace(ours, theirs)
    return content
