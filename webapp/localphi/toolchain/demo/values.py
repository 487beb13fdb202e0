"""Values for the slots of requests: names, numbers, dates and words, drawn by kind.

Kinds are the keys of `_MAKERS`, and `integer:LOW-HIGH`, `number:LOW-HIGH:DECIMALS`, `enum` and `boolean` (the
last two have no values of their own). A quarter of the names are invented: copying is learnt, not names.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass

from localphi.toolchain.demo.settings import DATA_FOLDER
from localphi.toolchain.demo.wording import pseudo_word
from localphi.toolchain.evaluate.cases import normalise

_INTEGER = re.compile(r"integer:(-?\d+)-(-?\d+)")
_NUMBER = re.compile(r"number:(-?\d+)-(-?\d+):(\d)")
_INVENTED_SHARE = 0.25
_LOWER_SHARE = 0.15
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True)
class Value:
    """`text` as it stands in the request, `json` as it stands in the arguments."""

    text: str
    json: str | int | float


class Values:
    """Draws values. Nothing in `barred` (normalised) is ever drawn."""

    def __init__(self, barred: Collection[str] = frozenset()) -> None:
        with (DATA_FOLDER / "values.toml").open("rb") as file:
            lists: dict[str, list[str]] = tomllib.load(file)
        self._barred = frozenset(barred)
        self._lists = {
            name: tuple(entry for entry in entries if normalise(entry) not in self._barred)
            for name, entries in lists.items()
        }

    def draw(self, kind: str, rng: random.Random) -> Value:
        """A value of `kind`. Raises ValueError for a kind that is not known."""
        if match := _INTEGER.fullmatch(kind):
            whole = _integer(int(match[1]), int(match[2]), rng)
            return Value(str(whole), whole)
        if match := _NUMBER.fullmatch(kind):
            number = round(rng.uniform(int(match[1]), int(match[2])), rng.randint(0, int(match[3])))
            return Value(f"{number:g}", int(number) if number == int(number) else float(f"{number:g}"))
        text = self._text(kind, rng)
        return Value(text, text)

    def pick(self, name: str, rng: random.Random) -> str:
        """One entry of a list of values.toml."""
        return rng.choice(self._lists[name])

    def _text(self, kind: str, rng: random.Random) -> str:
        if kind not in _MAKERS:
            raise ValueError(f"no values of the kind {kind!r}; known are {', '.join(sorted(_MAKERS))}")
        while True:
            text = _MAKERS[kind](self, rng)
            if kind in _MAY_BE_LOWER and rng.random() < _LOWER_SHARE:
                text = text.lower()
            if normalise(text) not in self._barred:
                return text


def _integer(low: int, high: int, rng: random.Random) -> int:
    """Small numbers and round ones come up most, as in life."""
    draw = rng.random()
    if draw < 0.3:
        return rng.randint(low, min(high, low + 12))
    whole = rng.randint(low, high)
    round_one = whole // 10 * 10
    return round_one if draw < 0.45 and low <= round_one <= high else whole


def _listed(name: str, invented: float = 0.0) -> Callable[[Values, random.Random], str]:
    def make(values: Values, rng: random.Random) -> str:
        if rng.random() < invented:
            return pseudo_word(rng).capitalize()
        return values.pick(name, rng)

    return make


def _first_name(values: Values, rng: random.Random) -> str:
    return _listed("first_name", _INVENTED_SHARE)(values, rng)


def _person(values: Values, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.1:
        return f"{rng.choice(('Dr.', 'Mr.', 'Mrs.', 'Ms.', 'Professor'))} {values.pick('last_name', rng)}"
    if draw < 0.3:
        return _first_name(values, rng)
    return f"{_first_name(values, rng)} {_listed('last_name', _INVENTED_SHARE)(values, rng)}"


def _company(values: Values, rng: random.Random) -> str:
    first = _listed("company_word", _INVENTED_SHARE)(values, rng)
    return f"{first} {values.pick('company_end', rng)}" if rng.random() < 0.8 else first


def _phrase(values: Values, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return values.pick("topic", rng)
    if draw < 0.42:
        return f"{values.pick('attribute', rng)} of the {values.pick('noun', rng)}"
    parts = [values.pick("phrase_verb", rng), values.pick("phrase_thing", rng)]
    if rng.random() < 0.25:
        parts.append(values.pick("phrase_end", rng))
    return " ".join(parts)


def _sentence(values: Values, rng: random.Random) -> str:
    return f"{values.pick('sentence_start', rng)} {values.pick('sentence_end', rng)}".strip()


def _title(values: Values, rng: random.Random) -> str:
    if rng.random() < _INVENTED_SHARE:
        return f"The {pseudo_word(rng).capitalize()} {values.pick('title_second', rng)}"
    return f"{values.pick('title_first', rng)} {values.pick('title_second', rng)}"


def _date(values: Values, rng: random.Random) -> str:
    year, month, day = rng.randint(1950, 2035), rng.randint(1, 12), rng.randint(1, 28)
    name = values.pick("month", rng)
    return rng.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{year}-{month:02}-{day:02}",
            f"{day} {name}",
            f"{name} {day}",
            f"{name} {day}, {year}",
            f"{day:02}.{month:02}.{year}",
        )
    )


def _time(_: Values, rng: random.Random) -> str:
    hour, minute = rng.randint(0, 23), rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, 55))
    short, half = (hour - 1) % 12 + 1, rng.choice(("am", "pm"))
    return rng.choice((f"{hour:02}:{minute:02}", f"{hour}:{minute:02}", f"{short} {half}", f"{short}{half}"))


def _email(values: Values, rng: random.Random) -> str:
    first, last = _first_name(values, rng).lower(), values.pick("last_name", rng).lower()
    user = rng.choice((first, f"{first}.{last}", f"{first[:1]}{last}", f"{first}{rng.randint(1, 99)}"))
    return f"{user}@{values.pick('mail_host', rng)}"


def _phone(_: Values, rng: random.Random) -> str:
    a, b, c = rng.randint(100, 999), rng.randint(100, 999), rng.randint(1000, 9999)
    return rng.choice((f"{a}-{b}-{c}", f"+{rng.randint(1, 99)} {a} {c}", f"0{a} {b}{c}", f"555-{c}"))


def _url(values: Values, rng: random.Random) -> str:
    page = rng.choice(("", "/", f"/{values.pick('noun', rng)}", f"/{values.pick('word', rng)}.html"))
    return f"https://{rng.choice(('', 'www.'))}{values.pick('site', rng)}{page}"


def _file(values: Values, rng: random.Random) -> str:
    stem = pseudo_word(rng).lower() if rng.random() < _INVENTED_SHARE else values.pick("file_stem", rng)
    stem += rng.choice(("", "", f"_{rng.randint(1, 2030)}", f"-{values.pick('word', rng)}"))
    return f"{stem}.{values.pick('file_end', rng)}"


def _path(values: Values, rng: random.Random) -> str:
    parts = [values.pick("folder", rng) for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.5:
        parts.append(_file(values, rng))
    return rng.choice(("/", "", "./")) + "/".join(parts)


def _code(_: Values, rng: random.Random) -> str:
    letters = "".join(rng.choice(_LETTERS) for _ in range(rng.randint(1, 4)))
    digits = rng.randint(10, 99999)
    return rng.choice((f"{letters}-{digits}", f"{letters}{digits}", f"{digits}-{letters}", f"#{digits}"))


def _address(values: Values, rng: random.Random) -> str:
    street, number = values.pick("street", rng), rng.randint(1, 240)
    place = rng.choice((f"{number} {street}", f"{number} {street}", f"{street} {number}"))
    return f"{place}, {_listed('city', _INVENTED_SHARE)(values, rng)}" if rng.random() < 0.25 else place


def _tag(values: Values, rng: random.Random) -> str:
    return "-".join(values.pick("word", rng) for _ in range(rng.randint(1, 2)))


def _username(values: Values, rng: random.Random) -> str:
    stem = pseudo_word(rng).lower() if rng.random() < 0.4 else values.pick("word", rng)
    return stem + rng.choice(("", str(rng.randint(1, 99)), f"_{values.pick('word', rng)}"))


def _ip(_: Values, rng: random.Random) -> str:
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


_MAKERS: dict[str, Callable[[Values, random.Random], str]] = {
    "address": _address,
    "animal": _listed("animal"),
    "city": _listed("city", _INVENTED_SHARE),
    "code": _code,
    "color": _listed("color"),
    "company": _company,
    "country": _listed("country"),
    "currency": _listed("currency"),
    "date": _date,
    "email": _email,
    "file": _file,
    "first_name": _first_name,
    "food": _listed("food"),
    "ip": _ip,
    "language": _listed("language"),
    "month": _listed("month"),
    "path": _path,
    "person": _person,
    "phone": _phone,
    "phrase": _phrase,
    "product": _listed("product"),
    "sentence": _sentence,
    "tag": _tag,
    "time": _time,
    "title": _title,
    "url": _url,
    "username": _username,
    "weekday": _listed("weekday"),
    "word": _listed("word", _INVENTED_SHARE),
}
_MAY_BE_LOWER = {
    "city",
    "company",
    "country",
    "first_name",
    "language",
    "month",
    "person",
    "title",
    "weekday",
}
