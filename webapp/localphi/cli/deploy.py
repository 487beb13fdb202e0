"""localphi deploy"""

from __future__ import annotations

import click

from localphi.cli.options import model_option
from localphi.config import DEMO_MODEL


@click.group()
def deploy() -> None:
    """Run localphi on more than one machine."""


@deploy.command()
@model_option
@click.option("--min-replicas", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--max-replicas", type=click.IntRange(1, 10_000), default=2, show_default=True)
@click.option(
    "--cpus", type=click.IntRange(1, 256), default=2, show_default=True, help="Cores for each replica."
)
@click.option(
    "--max-queued",
    type=click.IntRange(1, 100_000),
    default=64,
    show_default=True,
    help="Requests that may wait; more are told to come back.",
)
@click.option("--home", metavar="FOLDER", help="Where the nodes have their models. [default: each its own]")
@click.option("--pull", is_flag=True, help="Nodes that lack the model fetch it from the hub, each once.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def config(
    *,
    model: str | None,
    min_replicas: int,
    max_replicas: int,
    cpus: int,
    max_queued: int,
    home: str | None,
    pull: bool,
    port: int,
) -> None:
    """Print the configuration for Ray Serve: localphi deploy config > serve.yaml"""
    from localphi.deploy.config import document, serve_yaml
    from localphi.deploy.scale import Scale

    if max_replicas < min_replicas:
        raise click.BadParameter(f"{max_replicas} is less than --min-replicas.", param_hint="--max-replicas")
    scale = Scale(min_replicas, max_replicas, max_queued=max_queued, num_cpus=cpus)
    told = document(model or DEMO_MODEL, scale, home=home, port=port, pull=pull)
    click.echo(serve_yaml(told), nl=False)
