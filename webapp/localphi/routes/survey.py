"""How the description of the API learns what a body may hold: the parsers read one that takes notes.

A `Survey` is such a body. The functions of `fields.py` note what they insist on; a field that is read in
another way is noted without a form, and `forms.py` has to give it one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
"""A JSON schema of the 2020-12 draft, as OpenAPI 3.1 has it."""


class Survey(dict[str, Any]):
    """An otherwise empty body. sample: what the parser will not do without.

    forms: the fields read so far, with the schema of each where it is known.
    """

    def __init__(self, sample: Mapping[str, Any]) -> None:
        super().__init__(sample)
        self.forms: dict[str, Schema | None] = {}

    def get(self, name: str, default: Any = None) -> Any:
        self.forms.setdefault(name, None)
        return super().get(name, default)


def note(fields: Mapping[str, Any], name: str, form: Schema) -> None:
    """Remember the form of a field, where `fields` is a survey."""
    if isinstance(fields, Survey):
        fields.forms[name] = form
