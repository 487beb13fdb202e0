"""localphi serve"""

from __future__ import annotations

import threading
import webbrowser

import click

from localphi.cli.options import memory_size, model_option, settings_from
from localphi.config import MAX_THREADS


@click.command()
@click.option("--host", metavar="NAME", help="Loopback address to listen on. [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on, 0 for a free one. [default: 8000]"
)
@model_option
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    help="Threads the model computes with. [default: every core]",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1, 1000),
    help="Requests to hold, at work and waiting; more are told to come back. [default: 32]",
)
@click.option(
    "--memory-budget",
    "memory_budget_bytes",
    type=memory_size,
    metavar="SIZE",
    help="Memory that all loaded models may take together, such as 12GB. [default: 3/4 of the machine's]",
)
@click.option(
    "--idle-unload",
    "idle_unload_s",
    type=click.FloatRange(0, 1e7),
    metavar="SECONDS",
    help="Unload a model that nobody wanted for so long; 0 keeps it. [default: 900]",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def serve(open_page: bool, **options: object) -> None:
    """Serve the page and the OpenAI-compatible API on this machine."""
    from localphi.server import serve as run

    settings = settings_from(**options)

    def ready(url: str) -> None:
        click.echo(f"localphi serves {settings.model}")
        click.echo(f"  page        {url}")
        click.echo(f"  OpenAI API  {url}/v1")
        click.echo("Nothing leaves this machine. Stop with Ctrl-C.")
        if open_page:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    run(settings, ready)
    click.echo("Stopped.")
