"""The command line of the demo model: tokenizer, train, export, check, and all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from localphi.config import disable_telemetry
from localphi.toolchain.demo.settings import BUNDLED_FOLDER, DATA_FOLDER, DEFAULT_WORK_FOLDER, PLAN, Plan

_work = click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_WORK_FOLDER,
    show_default=True,
    help="Folder for the tokenizer, checkpoints and everything in between.",
)
_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=BUNDLED_FOLDER,
    show_default="the bundled one",
    help="Model folder to write or to read.",
)
_steps = click.option(
    "--steps", type=click.IntRange(min=1), default=PLAN.steps, show_default=True, help="Training steps."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Make the bundled demo model: a tiny Phi that knows localphi.

    `all` runs `tokenizer`, `train` and `export`; a killed training goes on where it was.
    """
    disable_telemetry()


@main.command()
@_work
def tokenizer(work: Path) -> None:
    """Learn the vocabulary from the training text."""
    from localphi.toolchain.demo.corpus import Conversations, tokenizer_texts
    from localphi.toolchain.demo.facts import load_knowledge
    from localphi.toolchain.demo.tokenizer import train_tokenizer

    other_text = (DATA_FOLDER / "other_text.txt").read_text(encoding="utf-8")
    texts = tokenizer_texts(Conversations(load_knowledge()), other_text, PLAN.seed)
    train_tokenizer(texts, work / "tokenizer")
    click.echo(f"tokenizer: {work / 'tokenizer'}")


@main.command()
@_work
@_steps
def train(work: Path, steps: int) -> None:
    """Train the network on the generated conversations."""
    from localphi.toolchain.demo.train import train as run

    plan = replace(PLAN, steps=steps)
    click.echo(f"trained: {run(_rows(work, plan), plan, work)}")


@main.command()
@_work
@_out
def export(work: Path, out: Path) -> None:
    """Quantize to int4 and write the model folder with its manifest."""
    from localphi.toolchain.demo.describe import describe_folder
    from localphi.toolchain.demo.export import export_model

    export_model(work / "trained", work / "tokenizer", out, work)
    describe_folder(out)
    click.echo(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")


@main.command()
@_out
@click.option("--quiet", is_flag=True, help="Print the totals only.")
def check(out: Path, quiet: bool) -> None:
    """Ask the exported model the held-out questions and print what it answers."""
    from localphi.toolchain.demo.check import check_model

    totals = check_model(out, (lambda _: None) if quiet else click.echo)
    if quiet:
        for name, total in totals.items():
            click.echo(f"{name}: {total}")


@main.command(name="all")
@_work
@_out
@_steps
@click.pass_context
def run_all(context: click.Context, work: Path, out: Path, steps: int) -> None:
    """tokenizer, train and export."""
    context.invoke(tokenizer, work=work)
    context.invoke(train, work=work, steps=steps)
    context.invoke(export, work=work, out=out)


def _rows(work: Path, plan: Plan) -> Any:
    from localphi.toolchain.demo.corpus import Conversations, Rows
    from localphi.toolchain.demo.facts import load_knowledge
    from localphi.toolchain.demo.tokenizer import load_tokenizer

    return Rows(Conversations(load_knowledge()), load_tokenizer(work / "tokenizer"), plan)
