"""localphi adapters"""

from __future__ import annotations

from pathlib import Path

import click

from localphi.cli.options import settings_from
from localphi.errors import AdapterInvalid, LocalphiError
from localphi.models.adapters import Adapter, AdapterStore, base_of
from localphi.models.store import ModelFolder, ModelStore


@click.group()
def adapters() -> None:
    """LoRA adapters: small changes to a model, chosen for each request.

    \b
    From what PEFT saved:  localphi adapters convert path/to/lora --model phi-4-mini --name poems
    Use it:                {"model": "phi-4-mini:poems", …} in a request, or "adapter": "poems"
    """


_model = click.option(
    "--model", default=None, metavar="ID", help="Model that it is for.  [default: the one that is served]"
)


@adapters.command("convert")
@click.argument("peft", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_model
@click.option("--name", help="Name in requests.  [default: that of the folder]")
def convert_command(peft: Path, model: str | None, name: str | None) -> None:
    """Take over the LoRA adapter that PEFT saved in the folder PEFT.

    It must be for the same model, in any precision: its changes are added to what the layers give, and the
    weights stay as they are. Needs no torch. An adapter of the same name is replaced.
    """
    from localphi.toolchain.adapters.convert import convert_adapter

    folder = _folder(model)
    variant = folder.manifest.server_variant
    if variant is not None and variant.lora is None and not folder.bundled:
        _prepare(folder)
        folder = _folder(model)
    named = name or peft.resolve().name.lower()
    adapter = convert_adapter(_store(), folder, peft, named)
    click.echo(_told(adapter))
    click.echo(f'Use it with: "model": "{folder.id}:{adapter.name}"')


@adapters.command()
@click.argument("model")
def prepare(model: str) -> None:
    """Give a model the graph that adapters are put into.

    It reads the same weights; nothing is copied. 'convert' does it where it is needed. Needs: pip install
    'localphi[quantize]'
    """
    _prepare(_folder(model))


@adapters.command("list")
@click.argument("model", required=False)
def list_command(model: str | None) -> None:
    """The adapters that are here, of MODEL or of all models."""
    store = _store()
    found = [each for name in ([model] if model else store.models()) for each in store.of_model(name)]
    for adapter in found:
        click.echo(_told(adapter))
    if not found:
        click.echo("No adapters. Take one over with: localphi adapters convert --help")


@adapters.command()
@click.argument("adapter", metavar="MODEL:NAME")
def show(adapter: str) -> None:
    """What is known of an adapter."""
    found = _adapter(adapter)
    info = found.info
    click.echo(f"model       {info.model}")
    click.echo(f"rank        {info.rank}")
    click.echo(f"layers      {info.sites} linear layers, {info.parameters:,} numbers")
    click.echo(f"made of     {info.source}")
    click.echo(f"folder      {found.folder}")
    try:
        fits = base_of(_folder(info.model).manifest) == info.base
    except LocalphiError as error:
        click.echo(f"The model is not here: {error.message}")
        return
    click.echo("It fits the model here." if fits else "It was made for other weights than are here.")


@adapters.command()
@click.argument("adapter", metavar="MODEL:NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(adapter: str, yes: bool) -> None:
    """Delete an adapter."""
    found = _adapter(adapter)
    if not yes:
        click.confirm(f"Delete {found.folder}?", abort=True)
    _store().remove(found)
    click.echo(f"{adapter} is gone.")


def _store() -> AdapterStore:
    return AdapterStore(settings_from().home)


def _folder(model: str | None) -> ModelFolder:
    settings = settings_from()
    return ModelStore(settings.home).pin(model or settings.model).default()


def _adapter(named: str) -> Adapter:
    model, colon, name = named.partition(":")
    if not colon or not name:
        raise AdapterInvalid(f"{named!r} names no adapter: write MODEL:NAME, as 'adapters list' does.")
    return _store().get(model, name)


def _prepare(folder: ModelFolder) -> None:
    from localphi.toolchain.graphs.lora import add_lora_graph

    if folder.bundled:
        raise LocalphiError(f"The model '{folder.id}' belongs to the package; it is ready for adapters.")
    added = add_lora_graph(folder.path)
    click.echo(f"{folder.path / added.graph}: {len(added.sites)} layers can be adapted")


def _told(adapter: Adapter) -> str:
    size = adapter.weights.stat().st_size / 1e6
    return f"{adapter.info.model}:{adapter.name}   rank {adapter.info.rank}, {size:.1f} MB"
