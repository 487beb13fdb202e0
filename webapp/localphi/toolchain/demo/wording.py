"""How people word the same question: frames, politeness, contractions, casing, typos."""

from __future__ import annotations

import random
import re
import string
import tomllib
from dataclasses import dataclass

from localphi.toolchain.demo.settings import DATA_FOLDER

_QUESTION_START = re.compile(
    r"(what|who|how|is|are|do|does|can|which|where|why|when|will|could)\b", re.IGNORECASE
)
_SLOT = re.compile(r"(\{[^{}]*\})")
_SMALL_WORDS = re.compile(
    r"(a|an|the|is|are|do|does|did|can|could|would|will|be|i|it|my|me|you|your|we|to|of|for|in|on|at|with|by|that"
    r"|this|how|what|which|please)",
    re.IGNORECASE,
)
_NEIGHBOURS = dict(zip("aeiotnsrlh", "sroprmdtkj", strict=True))  # letters that lie side by side
_CONSONANTS = "bcdfghjklmnprstvwz"
_CODAS = ("", "", "n", "r", "s", "l", "x")


@dataclass(frozen=True)
class Wording:
    """The lists of wording.toml, and the ways to apply them. All draws come from the `rng` passed in."""

    topic_forms: tuple[str, ...]
    task_forms: tuple[str, ...]
    openings: tuple[str, ...]
    closings: tuple[str, ...]
    request_closings: tuple[str, ...]
    synonyms: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]

    def varied(self, question: str, rng: random.Random) -> str:
        """The question as somebody else would have typed it."""
        text = question
        for _ in range(2):
            if rng.random() < 0.4:
                text = self._with_synonym(text, rng)
        if rng.random() < 0.16:
            text = rng.choice(self.openings) + (text if text[:2].isupper() else text[:1].lower() + text[1:])
        if rng.random() < 0.07 and len(text) > 3:
            text = text.rstrip("?.! ") + rng.choice(self.closings)
        if rng.random() < 0.08:
            text = _as_keywords(text)
        return _with_typo(_recased(_repunctuated(text, rng), rng), rng)

    def framed(self, request: str, rng: random.Random) -> str:
        """A request with slots, said a little differently; the slots stay as they are."""
        text = request
        if rng.random() < 0.15:
            text = rng.choice(self.openings) + (text if text[:2].isupper() else text[:1].lower() + text[1:])
        if rng.random() < 0.08:
            text = text.rstrip("?.! ") + rng.choice(self.request_closings)
        return _cased_around_slots(_repunctuated(text, rng), rng)

    def _with_synonym(self, text: str, rng: random.Random) -> str:
        found = [(pattern, others) for pattern, others in self.synonyms if pattern.search(text)]
        if not found:
            return text
        pattern, others = rng.choice(found)
        return pattern.sub(rng.choice(others), text, count=1)


def load_wording() -> Wording:
    """Read wording.toml."""
    with (DATA_FOLDER / "wording.toml").open("rb") as file:
        document = tomllib.load(file)
    return Wording(
        topic_forms=tuple(document["topic_forms"]),
        task_forms=tuple(document["task_forms"]),
        openings=tuple(document["openings"]),
        closings=tuple(document["closings"]),
        request_closings=tuple(document["request_closings"]),
        synonyms=tuple(
            (re.compile(entry["find"], re.IGNORECASE), tuple(entry["put"])) for entry in document["synonym"]
        ),
    )


def pseudo_word(rng: random.Random) -> str:
    """A word that nobody knows, so that unknown words are seen as unknown."""
    syllables = [
        rng.choice(_CONSONANTS) + rng.choice("aeiou") + rng.choice(_CODAS) for _ in range(rng.randint(2, 3))
    ]
    word = "".join(syllables)
    return word.capitalize() if rng.random() < 0.5 else word


def _cased_around_slots(text: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return "".join(part if part.startswith("{") else part.lower() for part in _SLOT.split(text))
    return text[:1].upper() + text[1:] if draw < 0.6 and not text.startswith("{") else text


def _as_keywords(text: str) -> str:
    """As people type into a search box, where enough words are left."""
    words = [word for word in text.split(" ") if not _SMALL_WORDS.fullmatch(word)]
    return " ".join(words).rstrip("?.!") if len(words) >= 2 else text


def _repunctuated(text: str, rng: random.Random) -> str:
    bare = text.rstrip("?.! ")
    if not bare:
        return text
    draw = rng.random()
    if draw < 0.35:
        return bare
    if draw < 0.42:
        return bare + rng.choice((".", "!", "??", " ?", "...", "?!"))
    if draw < 0.60 and _QUESTION_START.match(bare):
        return bare + "?"
    text = text.replace("'", "") if draw > 0.95 else text
    return text.replace("'", "’") if 0.90 < draw < 0.95 else text


def _recased(text: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.42:
        return text.lower()
    if draw < 0.56:
        return text[:1].upper() + text[1:]
    if draw < 0.59:
        return text.upper()
    return text.title() if draw < 0.605 else text


def _with_typo(text: str, rng: random.Random) -> str:
    """One slip of a finger in one longer word, in about an eighth of the questions."""
    words = text.split(" ")
    long = [n for n, word in enumerate(words) if len(word) >= 5 and word.isascii() and word.isalpha()]
    if not long or rng.random() > 0.13:
        return text
    n = rng.choice(long)
    words[n] = _slip(words[n], rng)
    return " ".join(words)


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    letter = word[at]
    kinds = (
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + word[at + 1] + letter + word[at + 2 :],
        word[:at] + _NEIGHBOURS.get(letter, rng.choice(string.ascii_lowercase)) + word[at + 1 :],
    )
    return rng.choice(kinds)
