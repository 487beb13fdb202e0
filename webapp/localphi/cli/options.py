"""Options that several commands share, and the settings made of them."""

from __future__ import annotations

import click

from localphi.config import BACKENDS, DEMO_MODEL, Settings
from localphi.errors import LocalphiError

model_option = click.option(
    "--model", metavar="ID|FOLDER", help=f"Model of the store, or a model folder. [default: {DEMO_MODEL}]"
)

backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="What computes: generator is ONNX Runtime GenAI; openvino wants the extra of that name and a model "
    "that `localphi convert` has made ready.  [default: generator]",
)


def settings_from(**overrides: object) -> Settings:
    """Settings from the environment and the command line. Raises LocalphiError for a bad variable."""
    try:
        return Settings.from_environment(**overrides)
    except ValueError as error:
        raise LocalphiError(str(error)) from error
