"""What a route tells the description of the API about itself, put on its view function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from localphi.routes.forms import BodyForm
from localphi.routes.survey import Schema

_ATTRIBUTE = "localphi_operation"
_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """summary: a line. answers: the schema of a good answer by its media type.

    body: what a POST must hold. failures: statuses, beside those that every route may answer with.
    may_be_empty: a good answer may be 204, without content. parameters: OpenAPI's, beside those in the path.
    """

    summary: str
    answers: Mapping[str, Schema]
    body: BodyForm | None = None
    failures: tuple[int, ...] = ()
    description: str = ""
    may_be_empty: bool = False
    parameters: tuple[Mapping[str, Any], ...] = ()


def described(operation: Operation) -> Callable[[_View], _View]:
    """Decorator of a view: it is part of the API, and this is what it does."""

    def mark(view: _View) -> _View:
        setattr(view, _ATTRIBUTE, operation)
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What was said about the view; None for one that is no part of the API."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None
