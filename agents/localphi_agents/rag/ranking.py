"""What words are asked for, and how two rankings become one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

_Key = TypeVar("_Key", bound=Hashable)

_MAX_WORDS = 64
_MAX_PAIRS = 32
_WORD = re.compile(r"\w+")
_WITHOUT_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
# Words that say how something is asked. Without them words alone find a right passage among the first five
# for 80 % of the questions instead of 73 % (tests/bench/bench_retrieval.py).
_ASKING = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "can", "do", "does", "for", "from", "has", "have",
    "how", "i", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or", "so", "than",
    "that", "the", "their", "them", "there", "they", "this", "to", "was", "what", "when", "where", "which",
    "who", "why", "will", "with", "you", "your",
))  # fmt: skip
# Cormack et al. (2009) take 60 for lists of a thousand; these have a hundred, and their heads should count
# more.
_OFFSET = 20


def match_expression(text: str) -> str:
    """The text's words for FTS5, any of which may be there; empty when it has none."""
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    wanted = [word for word in words if word not in _ASKING] or words
    return " OR ".join(f'"{word}"' for word in wanted[:_MAX_WORDS])


def pairs(text: str) -> list[str]:
    """Each two neighbouring signs of Chinese, Japanese or Korean, which FTS5 does not part into words."""
    found: dict[str, None] = {}
    for run in _WITHOUT_SPACES.findall(text.lower()):
        found |= dict.fromkeys(run[at : at + 2] for at in range(max(len(run) - 1, 1)))
    return list(found)[:_MAX_PAIRS]


def fused(rankings: Iterable[tuple[float, Sequence[_Key]]]) -> list[tuple[_Key, float]]:
    """Reciprocal rank fusion: each key with its score, the best first. rankings: weight and keys of each."""
    scores: dict[_Key, float] = defaultdict(float)
    for weight, keys in rankings:
        for place, key in enumerate(keys, 1):
            scores[key] += weight / (_OFFSET + place)
    return sorted(scores.items(), key=lambda item: -item[1])
