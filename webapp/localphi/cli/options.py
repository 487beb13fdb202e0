"""Options that several commands share, and the settings made of them."""

from __future__ import annotations

import importlib.util
import re

import click

from localphi.config import BACKENDS, DEMO_MODEL, PROVIDERS, Settings
from localphi.errors import LocalphiError, ToolchainMissing

model_option = click.option(
    "--model", metavar="ID|FOLDER", help=f"Model of the store, or a model folder. [default: {DEMO_MODEL}]"
)

backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="What computes answers: paged, many in one step; generator, each by itself; auto, for each request "
    "the one that suits it; openvino, which wants the extra of that name and a model made ready by "
    "`localphi convert`. [default: auto]",
)

provider_option = click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    help="What ONNX Runtime computes with; `localphi doctor` tells which are installed.  [default: what the "
    "model was made for]",
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
    """Settings from the environment and the command line.

    Raises LocalphiError for a bad variable, and for a provider or backend that is not there.
    """
    try:
        settings = Settings.from_environment(**overrides)
    except ValueError as error:
        raise LocalphiError(str(error)) from error
    if settings.upstreams and settings.engine != "remote":
        raise LocalphiError("--upstream names servers that answer: give it together with --engine remote.")
    if settings.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise ToolchainMissing("Ray", "ray")
    if settings.provider is not None:
        from localphi.engine.providers import check_provider

        if settings.backend == "openvino":
            raise LocalphiError("--provider is ONNX Runtime's: leave it out with '--backend openvino'.")
        check_provider(settings.provider)
    if settings.backend == "openvino" and importlib.util.find_spec("openvino_genai") is None:
        raise ToolchainMissing("openvino-genai", "openvino")
    return settings
