"""Options that several commands share, and the settings made of them."""

from __future__ import annotations

import re

import click

from localphi.config import DEMO_MODEL, Settings
from localphi.errors import LocalphiError

model_option = click.option(
    "--model", metavar="ID|FOLDER", help=f"Model of the store, or a model folder. [default: {DEMO_MODEL}]"
)


_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([MG])B?", re.IGNORECASE)
_UNITS = {"M": 10**6, "G": 10**9}


def memory_size(text: str) -> int:
    """Bytes, written as 800MB or 12GB."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise click.BadParameter(f"{text!r} is no size such as 800MB or 12GB.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def settings_from(**overrides: object) -> Settings:
    """Settings from the environment and the command line. Raises LocalphiError for a bad variable."""
    try:
        return Settings.from_environment(**overrides)
    except ValueError as error:
        raise LocalphiError(str(error)) from error
