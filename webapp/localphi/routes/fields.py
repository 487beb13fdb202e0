"""Single fields of a JSON body: the value, its default, or an InvalidRequest that names the field.

Each function notes what it insists on, so that the description of the API says the same (see `survey.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from localphi.errors import InvalidRequest
from localphi.routes.survey import note

Body = Mapping[str, Any]
MAX_DEPTH = 128  # of a body; a schema in it may be half as deep
MAX_TOKEN_ID = 2**31 - 1
TOKEN_ID = {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID}


def json_object(data: bytes) -> dict[str, Any]:
    """A body. Raises InvalidRequest when it is no JSON object."""
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"The body must be a JSON object, but is {kind(fields)}.")
    _check_depth(fields)
    return fields


def _check_depth(root: dict[str, Any]) -> None:
    """Level by level, so that what walks the values later may do so by calling itself."""
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        values = (value for item in level for value in (item.values() if isinstance(item, dict) else item))
        level = [value for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is not usable JSON: it is nested deeper than {MAX_DEPTH} levels.")


def boolean(fields: Body, name: str, *, default: bool = False) -> bool:
    note(fields, name, {"type": ["boolean", "null"], "default": default})
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def integer(fields: Body, name: str, low: int, high: int) -> int | None:
    note(fields, name, {"type": ["integer", "null"], "minimum": low, "maximum": high})
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(name, f"a whole number from {low} to {high}", value)
    return value


def number(
    fields: Body, name: str, default: float, low: float, high: float, *, above_low: bool = False
) -> float:
    least = "exclusiveMinimum" if above_low else "minimum"
    note(fields, name, {"type": ["number", "null"], least: low, "maximum": high, "default": default})
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


def text(fields: Body, name: str, max_chars: int) -> str:
    """A field that must be there."""
    note(fields, name, {"type": "string", "maxLength": max_chars})
    value = fields.get(name)
    if not isinstance(value, str):
        raise wrong(name, f"a text of at most {max_chars} characters", value)
    if len(value) > max_chars:
        raise InvalidRequest(f"'{name}' has {len(value)} characters, but may have {max_chars}.", name)
    return value


def token_ids(fields: Body, name: str, max_items: int) -> tuple[int, ...]:
    """A field that must be there. Which ids there are is the model's business."""
    note(fields, name, {"type": "array", "items": TOKEN_ID, "maxItems": max_items})
    return _token_ids(fields.get(name), name, max_items)


def optional_token_ids(fields: Body, name: str, max_items: int, description: str) -> tuple[int, ...]:
    form = {"type": ["array", "null"], "items": TOKEN_ID, "maxItems": max_items}
    note(fields, name, {**form, "description": description})
    value = fields.get(name)
    return () if value is None else _token_ids(value, name, max_items)


def _token_ids(value: Any, name: str, max_items: int) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(map(is_token_id, value)):
        raise wrong(name, f"a list of at most {max_items} token ids", value)
    if len(value) > max_items:
        raise InvalidRequest(f"'{name}' holds {len(value)} token ids, but may hold {max_items}.", name)
    return tuple(value)


def is_token_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKEN_ID


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
