"""localphi adapters"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from tqdm import tqdm

from localphi.cli.options import settings_from
from localphi.config import MAX_THREADS, available_threads
from localphi.errors import AdapterInvalid, LocalphiError
from localphi.models.adapters import Adapter, AdapterStore, base_of
from localphi.models.store import ModelFolder, ModelStore

if TYPE_CHECKING:
    from localphi.toolchain.adapters.texts import Text
    from localphi.toolchain.adapters.train import Trained

_MOST_TEXTS = 400


@click.group()
def adapters() -> None:
    """LoRA adapters: small changes to a model, chosen for each request.

    \b
    From what PEFT saved:  localphi adapters convert path/to/lora --model phi-4-mini --name poems
    From conversations:    localphi adapters train poems --data poems.jsonl --model phi-4-mini
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

    folder = _ready(model)
    named = name or peft.resolve().name.lower()
    adapter = convert_adapter(_store(), folder, peft, named)
    click.echo(_told(adapter))
    click.echo(f'Use it with: "model": "{folder.id}:{adapter.name}"')


@adapters.command("train")
@click.argument("name")
@_model
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Conversations to learn, a line of {"messages": [{"role": …, "content": …}, …]} for each.',
)
@click.option(
    "--repair",
    "parent",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Learn to be like the model in FOLDER, such as the fp32 one that this was quantized from; by "
    "--data, or else by the texts that quantize calibrates on.",
)
@click.option("--steps", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option(
    "--rank",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Larger learns more.",
)
@click.option("--batch", type=click.IntRange(1, 256), default=4, show_default=True, help="Texts in a step.")
@click.option("--learning-rate", type=click.FloatRange(1e-7, 1.0), default=1e-3, show_default=True)
@click.option("--max-tokens", type=click.IntRange(8, 4096), default=512, show_default=True, help="Of a text.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1, MAX_THREADS), help="[default: every core]")
def train_command(  # noqa: PLR0917  click names them
    name: str,
    model: str | None,
    data: Path | None,
    parent: Path | None,
    steps: int,
    rank: int,
    batch: int,
    learning_rate: float,
    max_tokens: int,
    seed: int,
    threads: int | None,
) -> None:
    """Train an adapter called NAME on a model as it is served, int4 weights and all.

    Needs no checkpoint of the model. Ctrl-C loses at most 25 steps: the same command goes on. Needs: pip
    install 'localphi[toolchain]'
    """
    from localphi.toolchain.adapters.train import Plan, train

    if data is None and parent is None:
        raise click.UsageError("Give --data to learn from, or --repair.")
    folder = _ready(model)
    if data is None:
        count = min(_MOST_TEXTS, steps * batch)
        texts, judged = _calibration(folder, "calibration", count), _calibration(folder, "evaluation", 20)
    else:
        from localphi.toolchain.adapters.texts import read_texts

        texts = read_texts(data, folder, max_tokens)
        judged = texts[:20]
    plan = Plan(steps=steps, rank=rank, batch=batch, learning_rate=learning_rate, seed=seed)
    with tqdm(total=steps, unit="step", desc=name, disable=None) as bar:

        def step(done: int, loss: float) -> None:
            bar.update(done - bar.n)
            bar.set_postfix(loss=f"{loss:.4f}")

        done = train(
            _store(),
            folder,
            name,
            texts,
            plan,
            parent=parent,
            threads=threads or available_threads(),
            progress=step,
        )
    click.echo(_told(done.adapter))
    click.echo(f"loss {done.losses[0]:.4f} in the first step, {done.losses[-1]:.4f} in the last")
    if parent is not None:
        which = "texts not learnt from" if data is None else "texts learnt"
        _tell_repair(folder, parent, judged, done, which)
    click.echo(f'Use it with: "model": "{folder.id}:{name}"')


def _calibration(folder: ModelFolder, part: Literal["calibration", "evaluation"], count: int) -> list[Text]:
    from localphi.toolchain.adapters.texts import Text
    from localphi.toolchain.quantize.calibration import conversation_rows

    rows = conversation_rows(folder.path, folder.manifest.prompt_format, part, count)
    return [Text(row.ids, 0) for row in rows]


def _tell_repair(folder: ModelFolder, parent: Path, texts: list[Text], done: Trained, which: str) -> None:
    from localphi.toolchain.adapters.train import divergence

    before = divergence(folder, parent, texts)
    after = divergence(folder, parent, texts, done)
    share = (before - after) / before if before else 0.0
    click.echo(
        f"KL from {parent}, {len(texts)} {which}: {before:.5f} without the adapter, {after:.5f} with it: "
        f"{share:.0%} recovered"
    )


@adapters.command()
@click.argument("model")
def prepare(model: str) -> None:
    """Give a model the graphs that adapters are put into, for the server and for browsers.

    They read the same weights; nothing is copied. 'convert' does it where it is needed. Needs: pip install
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


def _ready(model: str | None) -> ModelFolder:
    """The model, with a graph for adapters."""
    folder = _folder(model)
    variant = folder.manifest.server_variant
    if variant is not None and variant.lora is None and not folder.bundled:
        _prepare(folder)
        folder = _folder(model)
    return folder


def _folder(model: str | None) -> ModelFolder:
    settings = settings_from()
    return ModelStore(settings.home).pin(model or settings.model).default()


def _adapter(named: str) -> Adapter:
    model, colon, name = named.partition(":")
    if not colon or not name:
        raise AdapterInvalid(f"{named!r} names no adapter: write MODEL:NAME, as 'adapters list' does.")
    return _store().get(model, name)


def _prepare(folder: ModelFolder) -> None:
    from localphi.toolchain.graphs.lora import add_lora_graphs

    if folder.bundled:
        raise LocalphiError(f"The model '{folder.id}' belongs to the package; it is ready for adapters.")
    click.echo(add_lora_graphs(folder.path).told())


def _told(adapter: Adapter) -> str:
    size = adapter.weights.stat().st_size / 1e6
    return f"{adapter.info.model}:{adapter.name}   rank {adapter.info.rank}, {size:.1f} MB"
