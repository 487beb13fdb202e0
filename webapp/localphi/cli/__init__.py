"""The command line: parse, call, print, exit code. Everything it does is done by the packages below it."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from localphi import __version__
from localphi.cli.adapters import adapters
from localphi.cli.agent import agent
from localphi.cli.bench import bench
from localphi.cli.build import build
from localphi.cli.chat import chat
from localphi.cli.convert import convert
from localphi.cli.deploy import deploy
from localphi.cli.doctor import doctor
from localphi.cli.engines import load, ps, stop
from localphi.cli.evaluate import evaluate
from localphi.cli.keys import keys
from localphi.cli.models import models
from localphi.cli.quantize import quantize_model
from localphi.cli.serve import serve
from localphi.cli.top import top
from localphi.errors import LocalphiError

__all__ = ["main"]


class _Commands(click.Group):
    """Prints errors as one sentence and leaves with 1, instead of a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except LocalphiError as error:
            raise click.ClickException(error.message) from error
        except BrokenPipeError:
            raise  # click ends quietly, as when piped into head
        except OSError as error:  # a folder that may not be read, a full disk
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="localphi")
def main() -> None:
    """Run Phi where you are: in the browser, on a local server, in agents.

    Start with `localphi serve --open`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console of few characters must not end an answer
            stream.reconfigure(errors="replace")


for _command in (
    *(serve, keys, ps, top, load, stop, chat, agent),
    *(models, adapters, build, quantize_model, convert, evaluate, bench, deploy, doctor),
):
    main.add_command(_command)
