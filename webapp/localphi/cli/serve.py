"""localphi serve"""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import click

from localphi.cli.options import (
    backend_option,
    memory_size,
    model_option,
    provider_option,
    settings_from,
)
from localphi.cli.serve_tools import server_tools
from localphi.config import ENGINES, MAX_THREADS


@click.command()
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Address to listen on; other than loopback only with access keys. [default: 127.0.0.1]",
)
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
@click.option(
    "--api-key-file",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Access keys beside those of `localphi keys`: one a line, `key` or `name:key`.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that people use for this server, beside its address. May be repeated.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    multiple=True,
    metavar="ORIGIN",
    help="A web page that may use this server (CORS), such as https://app.example. May be repeated.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="Who computes answers: local, this machine; remote, the servers named with --upstream; ray, "
    "replicas in Ray Serve (extra `ray`). [default: local]",
)
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="URL",
    help="A server of OpenAI's API that answers in this one's place, with --engine remote. May be repeated.",
)
@click.option(
    "--upstream-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The access key that the upstream servers want. [env: LOCALPHI_UPSTREAM_KEY]",
)
@click.option(
    "--trace-to",
    metavar="URL",
    help="A collector that gets OpenTelemetry's spans of each answer, by OTLP over HTTP (extra `otel`).",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 64),
    help="With --engine ray: replicas at the most; each gets its share of the threads. [default: 2]",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="time|math|units|files:FOLDER",
    help="Functions that models on the page may call, each time with the person's consent (extra `agents`). "
    "May be repeated.",
)
@click.option(
    "--docs",
    metavar="FOLDER",
    help="Likewise, a search in the Markdown, text and PDF files of a folder.",
)
@click.option("--embeddings", metavar="ID|FOLDER", help="With --docs: as for localphi agent.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def serve(
    *,
    open_page: bool,
    plugins: tuple[str, ...],
    docs: str | None,
    embeddings: str | None,
    **options: object,
) -> None:
    """Serve the page and the OpenAI-compatible API on this machine, or to others with access keys.

    Keys are made with `localphi keys new`, or come from a file, or from LOCALPHI_API_KEYS.
    """
    from localphi.server import serve as run
    from localphi.server import who_may_ask

    if embeddings is not None and docs is None:
        raise click.UsageError("--embeddings are for documents; name their folder with --docs.")
    settings = settings_from(**options)
    allowed = who_may_ask(settings)

    def ready(url: str) -> None:
        what = "the models of other servers" if settings.engine == "remote" else settings.model
        click.echo(f"localphi serves {what}")
        click.echo(f"  page        {url}")
        click.echo(f"  OpenAI API  {url}/v1")
        click.echo(f"{allowed} Stop with Ctrl-C.")
        if open_page:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    with server_tools(plugins, docs, embeddings) as tools:
        if tools:
            click.echo(f"Tools for the page: {', '.join(one.tool.name for one in tools)}.", err=True)
        run(settings, ready, tools)
    click.echo("Stopped.")
