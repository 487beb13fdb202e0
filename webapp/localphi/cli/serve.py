"""localphi serve"""

from __future__ import annotations

import threading
import webbrowser

import click

from localphi.cli.options import backend_option, model_option, provider_option, settings_from
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
@backend_option
@provider_option
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def serve(
    *,
    host: str | None,
    port: int | None,
    model: str | None,
    threads: int | None,
    backend: str | None,
    provider: str | None,
    open_page: bool,
) -> None:
    """Serve the page and the OpenAI-compatible API on this machine."""
    from localphi.server import serve as run

    settings = settings_from(
        host=host, port=port, model=model, threads=threads, backend=backend, provider=provider
    )

    def ready(url: str) -> None:
        click.echo(f"localphi serves {settings.model}")
        click.echo(f"  page        {url}")
        click.echo(f"  OpenAI API  {url}/v1")
        click.echo("Nothing leaves this machine. Stop with Ctrl-C.")
        if open_page:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    run(settings, ready)
    click.echo("Stopped.")
