"""The command line of the demo model: tokenizer, train, export, record, transcripts, and all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from localphi.config import disable_telemetry
from localphi.toolchain.demo.settings import (
    BUNDLED_FOLDER,
    DATA_FOLDER,
    DEFAULT_WORK_FOLDER,
    DEVELOPMENT_CASES,
    FURTHER,
    MODEL_ID,
    PLAN,
    Plan,
)

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
    """Make the bundled demo model: a tiny Phi that knows localphi, calls tools and fills JSON schemas.

    `all` runs `tokenizer`, `train` and `export`; a killed training goes on where it was. Then `record`, and
    `localphi evaluate localphi-demo` shows how good it became.
    """
    disable_telemetry()


@main.command()
@_work
def tokenizer(work: Path) -> None:
    """Learn the vocabulary from the training text."""
    from localphi.toolchain.demo.rows import tokenizer_texts
    from localphi.toolchain.demo.tokenizer import train_tokenizer

    other_text = (DATA_FOLDER / "other_text.txt").read_text(encoding="utf-8")
    texts = tokenizer_texts(_corpus(), other_text, PLAN.seed)
    train_tokenizer(texts, work / "tokenizer")
    click.echo(f"tokenizer: {work / 'tokenizer'}")


@main.command()
@_work
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    show_default=f"{PLAN.steps}, with --from {FURTHER.steps}",
    help="Training steps.",
)
@click.option(
    "--from",
    "start",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Model folder to train further, with its vocabulary, instead of starting afresh.",
)
@click.option("--device", default="cpu", help="Where PyTorch computes: cpu, cuda.")
@click.option("--threads", type=click.IntRange(min=1), default=2, help="Processor cores to use.")
@click.option(
    "--bf16",
    is_flag=True,
    help="Matrix products in bfloat16, where the processor has them (AVX512-BF16, AMX).",
)
@click.option(
    "--times",
    type=click.IntRange(1, 64),
    default=PLAN.times,
    help="So many times the rows in each step; a GPU wants 8 or more.",
)
def train(
    *,
    work: Path,
    steps: int | None = None,
    start: Path | None = None,
    device: str = "cpu",
    threads: int = 2,
    bf16: bool = False,
    times: int = PLAN.times,
) -> None:
    """Train the network on the generated conversations."""
    from localphi.toolchain.demo.export import copy_tokenizer
    from localphi.toolchain.demo.train import Machine
    from localphi.toolchain.demo.train import train as run

    plan = FURTHER if start else PLAN
    plan = replace(plan, steps=steps or plan.steps, times=times)
    if start:
        copy_tokenizer(start, work / "tokenizer")
    machine = Machine(device, threads, bf16)
    try:
        click.echo(f"trained: {run(_rows(work, plan), plan, work, machine, start)}")
    except (AssertionError, RuntimeError) as error:
        if device == "cpu":
            raise
        raise click.ClickException(f"Training on {device!r} failed: {error}") from error


@main.command()
@_work
@_out
def export(work: Path, out: Path) -> None:
    """Quantize to int4 and write the model folder with its manifest; the fp32 parent goes into WORK."""
    from localphi.toolchain.demo.describe import describe_folder
    from localphi.toolchain.demo.export import export_model
    from localphi.toolchain.graphs.lora import add_lora_graphs
    from localphi.toolchain.graphs.paged import add_paged_graph

    parent = work / "fp32"
    export_model(work / "trained", work / "tokenizer", parent, work, "fp32")
    describe_folder(parent, f"{MODEL_ID}-fp32")
    export_model(work / "trained", work / "tokenizer", out, work, "int4")
    describe_folder(out)
    add_paged_graph(out)
    add_lora_graphs(out)
    click.echo(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")


@main.command()
@_work
@_out
def record(work: Path, out: Path) -> None:
    """Evaluate the fp32 parent in WORK and keep its figures for `localphi evaluate` to show."""
    from localphi.toolchain.demo.record import record_parent

    click.echo(f"recorded: {record_parent(work / 'fp32', out)}")


@main.command()
@_out
def transcripts(out: Path) -> None:
    """Print ten unedited conversations with the model, as Markdown."""
    from localphi.toolchain.demo.transcripts import transcripts as written

    click.echo(written(out), nl=False)


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


def _corpus() -> Any:
    from localphi.toolchain.demo.corpus import Corpus
    from localphi.toolchain.demo.facts import load_knowledge
    from localphi.toolchain.evaluate.cases import load_cases

    return Corpus(load_knowledge(), load_cases(), load_cases(DEVELOPMENT_CASES))


def _rows(work: Path, plan: Plan) -> Any:
    from localphi.toolchain.demo.rows import Rows
    from localphi.toolchain.demo.tokenizer import load_tokenizer

    return Rows(_corpus(), load_tokenizer(work / "tokenizer"), plan)
