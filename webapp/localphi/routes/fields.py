"""Single fields of a JSON body: the value, its default, or an InvalidRequest that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localphi.errors import InvalidRequest

Body = Mapping[str, Any]


def boolean(fields: Body, name: str, *, default: bool = False) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def integer(fields: Body, name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(name, f"a whole number from {low} to {high}", value)
    return value


def number(
    fields: Body, name: str, default: float, low: float, high: float, *, above_low: bool = False
) -> float:
    value = fields.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (above_low and value == low):
        raise wrong(
            name,
            f"a number {'above' if above_low else 'from'} {low} {'up ' if above_low else ''}to {high}",
            value,
        )
    return float(value)


def wrong(param: str, wanted: str, got: Any) -> InvalidRequest:
    return InvalidRequest(f"'{param}' must be {wanted}, but is {kind(got)}.", param)


def kind(value: Any) -> str:
    """A short, safe picture of what came: the value itself when it is small."""
    if value is None:
        return "missing"
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else ""
    if shown and len(shown) <= 60:
        return shown
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a long text"}
    return names.get(type(value), "a value of another kind")
