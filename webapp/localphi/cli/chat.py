"""localphi chat"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from localphi.chat import ChatRequest, Chunk, Finished, Message, Sampling
from localphi.cli.conversing import converse
from localphi.cli.options import backend_option, model_option, provider_option, settings_from

if TYPE_CHECKING:
    from localphi.engine.client import Answer

Ask = Callable[[list[Message]], tuple[str, bool]]
_INTERRUPTED = 130  # as shells count a program that Ctrl-C ended


@click.command()
@click.argument("question", nargs=-1)
@model_option
@click.option(
    "--temperature", type=click.FloatRange(0, 2), help="0 for greedy decoding. [default: the model's]"
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Makes sampling repeatable.")
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Longest answer. [default: what the context holds]"
)
@backend_option
@provider_option
def chat(
    *,
    question: tuple[str, ...],
    model: str | None,
    temperature: float | None,
    seed: int | None,
    max_tokens: int | None,
    backend: str | None,
    provider: str | None,
) -> None:
    """Chat with the model in the terminal; with a QUESTION, answer it and leave.

    Inside: /new starts over, /quit (or Ctrl-D) leaves, Ctrl-C stops an answer.
    """
    from localphi.engine.client import Engines
    from localphi.models.store import ModelStore

    settings = settings_from(model=model, backend=backend, provider=provider)
    store = ModelStore(settings.home).pin(settings.model)
    folder = store.default()
    defaults = folder.manifest.sampling
    sampling = Sampling(
        defaults.temperature if temperature is None else temperature, defaults.top_p, defaults.top_k, seed
    )
    engines = Engines(store, settings)
    engine = engines.get(folder.id)

    def ask(messages: list[Message]) -> tuple[str, bool]:
        return _print_answer(lambda: engine.submit(ChatRequest(tuple(messages), sampling, max_tokens)))

    try:
        if question:
            _ask_once(ask, " ".join(question))
        else:
            engine.start()
            click.echo(f"{folder.manifest.name}: {folder.manifest.description}")
            click.echo("/new starts over, /quit leaves, Ctrl-C stops an answer.\n")
            _converse(ask)
    finally:
        engines.close()


def _converse(ask: Ask) -> None:
    messages: list[Message] = []

    def go_on(text: str) -> None:
        reply, _ = ask([*messages, Message("user", text)])
        messages.extend((Message("user", text), Message("assistant", reply)))

    converse(go_on, messages.clear)


def _ask_once(ask: Ask, question: str) -> None:
    _, complete = ask([Message("user", question)])
    if not complete:
        raise SystemExit(_INTERRUPTED)


def _print_answer(submit: Callable[[], Answer]) -> tuple[str, bool]:
    """Write the answer as it comes; gives its text, and whether it is complete: Ctrl-C cuts it short."""
    started, first = time.perf_counter(), 0.0
    text = ""
    answer = None
    try:
        answer = submit()
        for item in answer:
            first = first or time.perf_counter()
            if isinstance(item, Chunk):
                text += item.text
                sys.stdout.write(item.text)
                sys.stdout.flush()
            elif isinstance(item, Finished):
                _print_speed(first - started, time.perf_counter() - first, item.usage.completion_tokens)
    except KeyboardInterrupt:
        click.secho("\n(stopped)", dim=True, err=True)
        return text, False
    finally:
        if answer is not None:
            answer.close()
    return text, True


def _print_speed(ttft_s: float, decode_s: float, tokens: int) -> None:
    speed = f", {(tokens - 1) / decode_s:.0f} tokens/s" if tokens > 1 and decode_s > 0 else ""
    click.echo()
    if sys.stdout.isatty():
        click.secho(f"{tokens} tokens, first after {ttft_s * 1000:.0f} ms{speed}", dim=True, err=True)
