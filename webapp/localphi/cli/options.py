"""Options that several commands share, and the settings made of them."""

from __future__ import annotations

import click

from localphi.config import DEMO_MODEL, Settings
from localphi.errors import LocalphiError

model_option = click.option(
    "--model", metavar="ID|FOLDER", help=f"Model of the store, or a model folder. [default: {DEMO_MODEL}]"
)


def settings_from(**overrides: object) -> Settings:
    """Settings from the environment and the command line. Raises LocalphiError for a bad variable."""
    try:
        return Settings.from_environment(**overrides)
    except ValueError as error:
        raise LocalphiError(str(error)) from error
