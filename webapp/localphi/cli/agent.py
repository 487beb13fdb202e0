"""localphi agent"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import click

from localphi.errors import LocalphiError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from localphi_agents.semantic_kernel.conversation import Conversation

_INTERRUPTED = 130  # as shells count a program that Ctrl-C ended
_LINE = 200  # of a call or a result, in characters
_DEFAULT_PLUGINS = ("time", "math", "units")


@click.command()
@click.argument("question", nargs=-1)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="time|math|units|files:FOLDER",
    help="Functions for the model; may be given again. [default: time, math and units]",
)
@click.option("--url", default="http://localhost:8000", show_default=True, help="Where the server is.")
@click.option("--instructions", metavar="TEXT", help="How the agent is to answer.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), help="0 for greedy decoding. [default: the model's]"
)
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Longest answer. [default: what the context holds]"
)
def agent(
    *,
    question: tuple[str, ...],
    plugins: tuple[str, ...],
    url: str,
    instructions: str | None,
    temperature: float | None,
    max_tokens: int | None,
) -> None:
    """Chat with an agent that calls functions; with a QUESTION, answer it and leave.

    Needs a running server (localphi serve). Each call and its result is shown in a line.
    Inside: /new starts over, /quit (or Ctrl-D) leaves, Ctrl-C stops an answer.
    """
    with _installed():
        from anyio.from_thread import start_blocking_portal
        from semantic_kernel import Kernel

        from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings
        from localphi_agents.semantic_kernel.conversation import Conversation

    _quiet()
    kernel = Kernel()
    for name, plugin in _plugins(plugins or _DEFAULT_PLUGINS):
        kernel.add_plugin(plugin, name)
    try:
        service = PhiChatCompletion(base_url=url)
    except ValueError as error:
        raise LocalphiError(f"--url: {error}") from error
    settings = PhiPromptExecutionSettings(temperature=temperature, max_tokens=max_tokens)
    conversation = Conversation(service, kernel, instructions=instructions, settings=settings)
    with start_blocking_portal() as portal:
        if question:
            if not _ask(portal, conversation, " ".join(question)):
                raise SystemExit(_INTERRUPTED)
        else:
            names = ", ".join(
                f"{f.plugin_name}-{f.name}" for f in kernel.get_full_list_of_function_metadata()
            )
            click.echo(f"Functions: {names}")
            click.echo("/new starts over, /quit leaves, Ctrl-C stops an answer.\n")
            _converse(portal, conversation)


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "a module").partition(".")[0]
        raise LocalphiError(
            f"'localphi agent' needs more than is installed ({missing} is missing). "
            "Install it with: pip install 'localphi[agents]'"
        ) from error


def _quiet() -> None:
    """Failures are told here in one sentence; Semantic Kernel would log them with tracebacks."""
    for name in ("semantic_kernel", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _plugins(names: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    from localphi_agents.plugins import Files, Math, Time, Units

    plain: dict[str, Callable[[], object]] = {"time": Time, "math": Math, "units": Units}
    for given in dict.fromkeys(names):
        name, colon, folder = given.partition(":")
        if given in plain:
            yield given, plain[given]()
        elif name == "files" and colon:
            try:
                yield name, Files(folder)
            except ValueError as error:
                raise LocalphiError(f"--plugin {given}: {error}") from error
        else:
            raise LocalphiError(f"--plugin is time, math, units or files:FOLDER, but {given!r} came.")


def _converse(portal: BlockingPortal, conversation: Conversation) -> None:
    while True:
        try:
            text = input("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo()
            return
        if text == "/quit":
            return
        if text == "/new":
            conversation.start_over()
        elif text:
            try:
                _ask(portal, conversation, text)
            except LocalphiError as error:
                click.echo(f"{error.message} (/new starts over)", err=True)


def _ask(portal: BlockingPortal, conversation: Conversation, question: str) -> bool:
    """Write the answer as it comes; tells whether it is complete: Ctrl-C cuts it short.

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
                case Ended():
                    note = "(cut off at the limit of tokens)" if event.finish_reason == "length" else ""
            if not at_line_start:
                click.echo()
                at_line_start = True
            if note:
                click.secho(_one_line(note), dim=True, err=True)


def _one_line(text: str) -> str:
    shown = _printable(" ".join(text.split()), keep="")
    return shown if len(shown) <= _LINE else shown[:_LINE] + f"… ({len(text)} characters)"


def _printable(text: str, keep: str) -> str:
    """Without what a file or a tool could tell the terminal to do."""
    return "".join(
        sign if sign.isprintable() or sign in keep else "\N{REPLACEMENT CHARACTER}" for sign in text
    )
