"""The command line of the graph passes."""

from __future__ import annotations

from pathlib import Path

import click

from localphi.config import disable_telemetry
from localphi.errors import LocalphiError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Give a model folder another graph over the same weights."""
    disable_telemetry()


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def paged(folder: Path) -> None:
    """Add to the model in FOLDER the graph that serves many conversations at once on the CPU.

    Its localphi.json then names it, and the server uses it. The weights are not copied.
    """
    from localphi.toolchain.graphs.paged import add_paged_graph

    try:
        added = add_paged_graph(folder)
    except LocalphiError as error:
        raise click.ClickException(error.message) from error
    size = (folder / added.graph).stat().st_size
    click.echo(f"{folder / added.graph}: {size / 1e6:.2f} MB, up to {added.max_sequence_tokens} tokens")


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def lora(folder: Path) -> None:
    """Add to the model in FOLDER the graphs that LoRA adapters are put into, for server and browsers.

    Its localphi.json then names them, and requests may name an adapter. The weights are not copied.
    """
    from localphi.toolchain.graphs.lora import add_lora_graphs

    try:
        added = add_lora_graphs(folder)
    except LocalphiError as error:
        raise click.ClickException(error.message) from error
    click.echo(added.told())


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def webnn(folder: Path) -> None:
    """Add to the model in FOLDER the files that browsers run on WebNN.

    They are its weights once more, as WebNN reads them. Its localphi.json then names them, and pages opened
    with ?device=webnn use them.
    """
    from localphi.toolchain.graphs.webnn import WEBNN_NAME, add_webnn_variant

    try:
        added = add_webnn_variant(folder)
    except LocalphiError as error:
        raise click.ClickException(error.message) from error
    size = added.weights_bytes
    click.echo(f"{folder / WEBNN_NAME}: {size / 1e6:.2f} MB of weights, up to {added.context_length} tokens")
