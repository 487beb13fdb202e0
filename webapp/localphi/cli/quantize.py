"""localphi quantize"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from localphi.cli.options import settings_from
from localphi.config import MAX_THREADS
from localphi.models.catalogue import catalogue
from localphi.models.store import ModelFolder
from localphi.toolchain.quantize import METHODS, Method

_WHAT = {"text": "reading text", "layers": "quantizing", "sensitivity": "measuring layers"}


if TYPE_CHECKING:
    from localphi.toolchain.quantize.run import Outcome


def _keep(context: click.Context, parameter: click.Parameter, text: str) -> tuple[tuple[str, int], ...]:
    from localphi.toolchain.quantize.recipe import parse_keep

    try:
        return parse_keep(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("quantize")
@click.argument("model")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder to write; it must not exist yet.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="awq",
    show_default=True,
    help="rtn rounds each weight to the nearest step: done in seconds, loses most. hqq moves the steps to "
    "fit most weights, not the outliers; kquant searches those that fit best. awq also reads some text "
    "and looks at which weights matter for it: slowest, loses least.",
)
@click.option(
    "--bits",
    type=click.Choice(["4", "8"]),
    default="4",
    show_default=True,
    help="Bits of a weight. 8 loses next to nothing and takes twice the space.",
)
@click.option(
    "--group-size",
    type=click.Choice(["32", "64", "128"]),
    default="32",
    show_default=True,
    help="Weights that share a scale. Smaller is more accurate and a little larger on the disk.",
)
@click.option(
    "--symmetric/--asymmetric",
    default=False,
    show_default="--asymmetric",
    help="Asymmetric keeps a zero point for each group: more accurate, a little larger.",
)
@click.option(
    "--ratio",
    type=click.FloatRange(0, 1),
    help="Share of the weights at 4 bits. The layers that would lose most, as measured, get 8 bits.",
)
@click.option(
    "--keep",
    metavar="LAYER:BITS,...",
    default="",
    callback=_keep,
    help="Layers with bits of their own: 4, 8, or fp32 for not at all. lm_head:8,down_proj:8 or layers.0:8.",
)
@click.option(
    "--accuracy-level",
    type=click.Choice(["0", "1", "4"]),
    default="0",
    show_default=True,
    help="How the model computes later. 0 and 1: in float32, on every device alike. 4: faster on CPUs, a "
    "little less accurate.",
)
@click.option(
    "--clip/--no-clip",
    default=True,
    show_default="--clip",
    help="awq only: also search how far the steps of each group should reach.",
)
@click.option(
    "--correct/--no-correct",
    default=True,
    show_default="--correct",
    help="awq only: also let the weights still to be rounded make up for those that are (GPTQ).",
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="awq and --ratio: a text file like what the model will read.  [default: conversations that come "
    "with localphi]",
)
@click.option(
    "--conversations",
    type=click.IntRange(min=1),
    default=96,
    show_default=True,
    help="awq and --ratio: how many conversations, or pieces of the file, to read.",
)
@click.option("--id", "new_id", metavar="ID", help="Id of the new model.  [default: MODEL's, and the method]")
@click.option(
    "--family",
    type=click.Choice(sorted(catalogue().families)),
    help="For a folder that has no localphi.json yet: how its conversations are written.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where finished layers are kept meanwhile.  [default: beside --out]",
)
@click.option("--threads", type=click.IntRange(1, MAX_THREADS), help="Threads to use. [default: every core]")
def quantize_model(
    *,
    model: str,
    out: Path,
    method: Method,
    bits: str,
    group_size: str,
    symmetric: bool,
    ratio: float | None,
    keep: tuple[tuple[str, int], ...],
    accuracy_level: str,
    clip: bool,
    correct: bool,
    calibration: Path | None,
    conversations: int,
    new_id: str | None,
    family: str | None,
    work: Path | None,
    threads: int | None,
) -> None:
    """Make a model smaller: write MODEL's weights with 4 or 8 bits instead of 32.

    MODEL is a float32 model: a folder that ONNX Runtime GenAI's model builder exported with -p fp32 -e cpu,
    or a model of the store. The new folder takes about a fifth of the space, answers faster, and is used
    like any other: localphi serve --model FOLDER.

    \b
    Start with the defaults:       localphi quantize path/to/fp32 --out my-phi
    Then see what it cost:         localphi evaluate ./my-phi --against path/to/fp32
    If too much, spend some bytes: localphi quantize path/to/fp32 --out my-phi-2 --ratio 0.8

    A run that was stopped goes on where it was when the same command is given again.
    """
    from localphi.toolchain.quantize.recipe import Recipe
    from localphi.toolchain.quantize.run import quantize, source_model

    settings = settings_from(threads=threads)
    recipe = Recipe(
        method=method,
        bits=int(bits),
        group_size=int(group_size),
        symmetric=symmetric,
        accuracy_level=int(accuracy_level),
        keep=keep,
        ratio=ratio,
        clip=clip,
        correct=correct,
        conversations=conversations,
    )
    source = source_model(settings.home, model, family)
    with _bars() as progress:
        try:
            outcome = quantize(
                source,
                out,
                recipe,
                settings.threads,
                work=work,
                text=calibration,
                new_id=new_id,
                progress=progress,
            )
        except KeyboardInterrupt:
            click.echo("Stopped. The layers that are done are kept: the same command goes on.", err=True)
            raise
    _tell(source, out, outcome)


def _tell(source: ModelFolder, out: Path, outcome: Outcome) -> None:
    counts = {bits: sum(other == bits for other in outcome.bits.values()) for bits in (4, 8, 32)}
    names = {4: "4 bits", 8: "8 bits", 32: "float32"}
    layers = ", ".join(
        f"{count} {'layer' if count == 1 else 'layers'} with {names[bits]}"
        for bits, count in counts.items()
        if count
    )
    size = sum(entry.size for entry in outcome.manifest.files.values())
    click.echo(f"{out}: {layers}; {size / 1e6:.1f} MB instead of {source.size_bytes / 1e6:.1f} MB")
    if outcome.errors:
        before, after = (sum(pair[n] for pair in outcome.errors.values()) for n in (0, 1))
        click.echo(f"AWQ's scales took {1 - after / max(before, 1e-30):.0%} off the layers' squared errors.")
    path = out if out.is_absolute() else f"./{out}"
    click.echo(f"Use it with: localphi serve --model {path}")
    click.echo(f"See what it cost: localphi evaluate {path} --against {source.path}")


@contextmanager
def _bars() -> Iterator[Any]:
    """One bar after the other on a terminal; silent elsewhere."""
    bar: Any = None
    shown = ""

    def progress(what: str, done: int, total: int) -> None:
        nonlocal bar, shown
        if what != shown:
            if bar is not None:
                bar.close()
            bar = tqdm(total=total, desc=_WHAT[what], leave=False, disable=None, file=sys.stderr)
            shown = what
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()
