"""`python -m localphi.toolchain.quantize.report WORK`: every method on one model, as a page with a plot."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from tqdm import tqdm

from localphi.config import available_threads
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelFolder
from localphi.toolchain.evaluate.compare import Compared, compare
from localphi.toolchain.quantize.calibration import conversation_rows
from localphi.toolchain.quantize.recipe import Recipe
from localphi.toolchain.quantize.run import quantize

RECIPES: Mapping[str, Recipe] = {
    "int8": Recipe("rtn", bits=8),
    "int8-awq": Recipe("awq", bits=8),
    "rtn-128": Recipe("rtn", group_size=128),
    "rtn-32-symmetric": Recipe("rtn", symmetric=True),
    "rtn-32": Recipe("rtn"),
    "hqq-32": Recipe("hqq"),
    "kquant-32": Recipe("kquant"),
    "awq-32-no-correct": Recipe("awq", correct=False),
    "awq-32": Recipe("awq"),
    "awq-128": Recipe("awq", group_size=128),
    "mixed": Recipe("awq", ratio=0.89),
    "mixed-0.7": Recipe("awq", ratio=0.7),
}
_ROWS = 150
_PAGE, _PLOT = "quantization.md", "quantization.png"
_DOCS = Path("docs")


@dataclass(frozen=True)
class Measured:
    """seconds: what quantizing took; 0 for the parent and where the folder was there already."""

    compared: Compared
    command: str
    seconds: float


@click.command()
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--parent",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("build") / "demo" / "fp32",
    show_default=True,
    help="The float32 model folder to quantize.",
)
@click.option(
    "--docs",
    type=click.Path(file_okay=False, path_type=Path),
    default=_DOCS,
    show_default=True,
    help=f"Where {_PAGE} and {_PLOT} are written.",
)
def main(work: Path, parent: Path, docs: Path) -> None:
    """Quantize a float32 model in every way and write how far each one is from it.

    The models are kept in WORK; those that are there already are only measured again.
    """
    source = ModelFolder(parent, load_manifest(parent), bundled=False)
    seconds = {name: _made(source, work / name, recipe) for name, recipe in RECIPES.items()}
    rows = conversation_rows(parent, source.manifest.prompt_format, "evaluation", _ROWS)
    with tqdm(total=len(rows), desc="comparing", leave=False, disable=None) as bar:
        folders = [work / name for name in RECIPES]
        first, *others = compare(parent, folders, rows, available_threads(), bar.update)
    measured = {"fp32": Measured(first, "the parent", 0.0)}
    for (name, recipe), compared in zip(RECIPES.items(), others, strict=True):
        measured[name] = Measured(compared, _command(recipe), seconds[name])
    docs.mkdir(parents=True, exist_ok=True)
    _plot(measured, docs / _PLOT)
    (docs / _PAGE).write_text(page(source, measured), encoding="utf-8")
    click.echo(f"{docs / _PAGE}, {docs / _PLOT}")


def page(source: ModelFolder, measured: Mapping[str, Measured]) -> str:
    """The page, as Markdown."""
    first = measured["fp32"].compared
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnxruntime-genai", "numpy"))
    machine = f"{platform.system()} {platform.machine()}, {available_threads()} threads, no GPU"
    lines = [
        "# What quantizing costs",
        "",
        f"Model: {source.id}, revision {source.manifest.origin.get('revision', 'unknown')}. "
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine}, {packages}, "
        "by `python -m localphi.toolchain.quantize.report build/quantize`.",
        "",
        f"Text: {_ROWS} conversations of the demo's corpus, {first.everything.tokens} tokens, "
        f"{first.answers.tokens} of them in answers. Calibration reads others: which of the two a question "
        "belongs to is decided by its hash. KL is the mean KL divergence of the next token from the float32 "
        "model, in nats; top-1 says how often the most likely token is the same. Sizes are of the graph and "
        "its weights; the embedding stays in float32 in all of them.",
        "",
        "| model | size | KL, all tokens | KL, answers | perplexity, all | top-1, all | top-1, answers "
        "| made in | command |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_line(name, one, is_parent=name == "fp32") for name, one in measured.items()),
        "",
        f"![Size against KL divergence]({_PLOT})",
        "",
        "## What was wanted, and what came",
        "",
        *_verdicts(measured),
    ]
    return "\n".join(lines) + "\n"


def _made(source: ModelFolder, out: Path, recipe: Recipe) -> float:
    """The seconds it took; 0 where the model is there and was made of the same parent by the same recipe."""
    if out.is_dir():
        origin = load_manifest(out).origin
        if origin.get("parent") == f"{source.id} {source.manifest.origin.get('revision', '')}".strip():
            return 0.0
        raise click.UsageError(f"{out} was made of another parent. Give another WORK, or delete it.")
    started = time.monotonic()
    with tqdm(desc=out.name, leave=False, disable=None) as bar:
        quantize(source, out, recipe, available_threads(), new_id=out.name, progress=lambda *_: bar.update())
    return time.monotonic() - started


def _command(recipe: Recipe) -> str:
    parts = [f"--method {recipe.method}"]
    if recipe.bits != 4:
        parts.append(f"--bits {recipe.bits}")
    if recipe.group_size != 32:
        parts.append(f"--group-size {recipe.group_size}")
    if recipe.symmetric:
        parts.append("--symmetric")
    if recipe.method == "awq":
        parts += ["--no-clip"] * (not recipe.clip) + ["--no-correct"] * (not recipe.correct)
    if recipe.ratio is not None:
        parts.append(f"--ratio {recipe.ratio}")
    return f"`{' '.join(parts)}`"


def _line(name: str, one: Measured, *, is_parent: bool) -> str:
    everything, answers = one.compared.everything, one.compared.answers
    cells = [
        name,
        f"{one.compared.size_bytes / 1e6:.2f} MB",
        "" if is_parent else f"{everything.kl:.5f}",
        "" if is_parent else f"{answers.kl:.5f}",
        f"{everything.perplexity:.4f}",
        "" if is_parent else f"{everything.agreement:.2%}",
        "" if is_parent else f"{answers.agreement:.2%}",
        f"{one.seconds:.0f} s" if one.seconds else "",
        one.command,
    ]
    return f"| {' | '.join(cells)} |"


def _verdicts(measured: Mapping[str, Measured]) -> Sequence[str]:
    def kl(name: str) -> float:
        return measured[name].compared.everything.kl

    def reached(is_it: bool) -> str:
        return "reached" if is_it else "**not reached**"

    awq, mixed = measured["awq-32"].compared, measured["mixed"].compared
    to_rtn, to_symmetric = kl("awq-32") / kl("rtn-32"), kl("awq-32") / kl("rtn-32-symmetric")
    alone = kl("awq-32-no-correct") / kl("rtn-32"), kl("awq-32-no-correct") / kl("rtn-32-symmetric")
    mixed_to_rtn, larger = kl("mixed") / kl("rtn-32"), mixed.size_bytes / awq.size_bytes - 1
    int8, best = measured["int8"].compared, measured["int8-awq"].compared
    agreement = int8.everything.agreement
    return (
        f"* AWQ at 4 bits loses at most half of what RTN loses, in KL over all tokens: {to_rtn:.0%} of RTN "
        f"in the same format, {to_symmetric:.0%} of symmetric RTN, which model builders write by default: "
        f"{reached(to_rtn <= 0.5)}. This is AWQ as `localphi quantize` does it, with GPTQ's correction. Its "
        f"scales and clipping alone (`--no-correct`) come to {alone[0]:.0%} and {alone[1]:.0%}.",
        f"* Mixed, at most 5 % larger than AWQ, loses at most a third of RTN: {mixed_to_rtn:.0%} at "
        f"{larger:+.1%} bytes: {reached(mixed_to_rtn <= 1 / 3 and larger <= 0.05)}.",
        f"* int8 agrees in 99.5 % of the most likely tokens: {agreement:.2%} over all tokens: "
        f"{reached(agreement >= 0.995)}; {int8.answers.agreement:.2%} in answers. With AWQ at 8 bits "
        f"{best.everything.agreement:.2%} and {best.answers.agreement:.2%}.",
        "",
        "Most tokens of the text stand in questions and schemas, which nobody can foresee; there the most "
        "likely tokens lie close together and change places easily. What the model is for are the answers.",
    )


def _plot(measured: Mapping[str, Measured], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, one in measured.items():
        if name != "fp32":
            size, kl = one.compared.size_bytes / 1e6, one.compared.everything.kl
            below = -11 if name.startswith("kquant") else 4  # it lies close to rtn
            axes.plot(size, kl, "o", color="tab:blue")
            axes.annotate(name, (size, kl), textcoords="offset points", xytext=(6, below), fontsize=9)
    axes.set_yscale("log")
    axes.set_xlabel("size of graph and weights, MB")
    axes.set_ylabel("KL divergence from float32, nats a token")
    axes.set_title(f"float32: {measured['fp32'].compared.size_bytes / 1e6:.1f} MB")
    axes.grid(alpha=0.3, which="both")
    axes.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main(prog_name="python -m localphi.toolchain.quantize.report")
