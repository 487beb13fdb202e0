"""The terminal of `localphi agent`: questions in, answers and every call in a line out."""

from __future__ import annotations

import sys
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from localphi.cli.agent_docs import sources_line, sources_of
from localphi.errors import LocalphiError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from localphi_agents.semantic_kernel.conversation import Conversation

_LINE = 200  # of a call or a result, in characters
_SOURCES = 1_000  # of all sources of an answer


def ask(portal: BlockingPortal, conversation: Conversation, question: str) -> bool:
    """Write the answer as it comes; tells whether it is complete: Ctrl-C cuts it short. Raises LocalphiError.

    The event loop has a thread of its own, so that connections stay alive while the user types, and so that
    Ctrl-C meets this thread, which waits, on every platform.
    """
    from semantic_kernel.exceptions import KernelException

    ended = threading.Event()

    async def answer() -> None:
        try:
            await _print_answer(conversation, question)
        finally:
            ended.set()

    task = portal.start_task_soon(answer)
    try:
        while not ended.wait(0.2):  # a wait without end cannot be interrupted on Windows
            pass
        task.result()
    except KeyboardInterrupt:
        task.cancel()
        ended.wait(10)
        click.secho("\n(stopped)", dim=True, err=True)
        return False
    except KernelException as error:
        click.echo(err=True)
        raise LocalphiError(str(error)) from error
    return True


async def _print_answer(conversation: Conversation, question: str) -> None:
    from localphi_agents.semantic_kernel.conversation import Called, Ended, Returned, Said

    at_line_start = True
    found: list[str] = []
    async with aclosing(conversation.ask(question)) as events:
        async for event in events:
            match event:
                case Said(text):
                    sys.stdout.write(_printable(text, keep="\n\t"))
                    sys.stdout.flush()
                    at_line_start = text.endswith("\n")
                    continue
                case Called():
                    note = f"→ {event.name}({event.arguments})"
                case Returned():
                    note = f"← {event.name}: {event.text}"
                    found += sources_of(event.name, event.text)
                case Ended():
                    note = "(cut off at the limit of tokens)" if event.finish_reason == "length" else ""
            if not at_line_start:
                click.echo()
                at_line_start = True
            if note:
                click.secho(_one_line(note), dim=True, err=True)
    if found:
        click.secho(_one_line(sources_line(found), _SOURCES), dim=True, err=True)


def _one_line(text: str, length: int = _LINE) -> str:
    shown = _printable(" ".join(text.split()), keep="")
    return shown if len(shown) <= length else shown[:length] + f"… ({len(text)} characters)"


def _printable(text: str, keep: str) -> str:
    """Without what a file or a tool could tell the terminal to do."""
    return "".join(
        sign if sign.isprintable() or sign in keep else "\N{REPLACEMENT CHARACTER}" for sign in text
    )
