"""The loop of a conversation in the terminal, whoever answers."""

from __future__ import annotations

from collections.abc import Callable

import click

from localphi.errors import LocalphiError


def converse(ask: Callable[[str], object], start_over: Callable[[], object]) -> None:
    """Until /quit or the end of the input. What fails is told, and the conversation goes on."""
    while True:
        try:
            text = input("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if text == "/quit":
            return
        if text == "/new":
            start_over()
        elif text:
            try:
                ask(text)
            except LocalphiError as error:
                click.echo(f"{error.message} (/new starts over)", err=True)
