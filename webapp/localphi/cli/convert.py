"""localphi convert"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from localphi.cli.options import settings_from
from localphi.errors import LocalphiError
from localphi.models.store import ModelStore


@click.command()
@click.argument("model")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Copy the model there first; it must not exist yet.  [default: add to the model's own folder]",
)
def convert(model: str, out: Path | None) -> None:
    """Make a model ready for OpenVINO, which reads prompts faster on CPUs.

    MODEL is a model of the store or a model folder. Its weights stay as they are; the graph is written once
    more in OpenVINO's form, beside the other one. Then: localphi serve --backend openvino --model MODEL
    """
    from localphi.toolchain.openvino.convert import convert as run

    folder = ModelStore(settings_from().home).pin(model).default()
    if out is None and folder.bundled:
        raise LocalphiError("The bundled model is not ours to change: give --out for a copy.")
    if out is not None:
        if out.exists():
            raise LocalphiError(f"{out} exists already. Give another --out, or delete it first.")
        shutil.copytree(folder.path, out)
    target = out or folder.path
    try:
        run(target)
    except BaseException:
        if out is not None:
            shutil.rmtree(out, ignore_errors=True)
        raise
    click.echo(f"{target} is ready: localphi serve --backend openvino --model {target}")
