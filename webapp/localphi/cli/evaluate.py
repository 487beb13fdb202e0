"""localphi evaluate"""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from localphi.cli.options import settings_from
from localphi.models.store import ModelFolder, ModelStore
from localphi.toolchain.evaluate import table
from localphi.toolchain.evaluate.ask import Asker
from localphi.toolchain.evaluate.cases import HELD_OUT, load_cases
from localphi.toolchain.evaluate.score import KINDS, Judged, count, judge, number_of_cases

_COMPARED_ROWS = 96


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--only", type=click.Choice(KINDS), multiple=True, help="Ask these cases only; may be given again."
)
@click.option(
    "--grammar", is_flag=True, help="Hold calls and JSON by a grammar, as the server does. Without it, bare."
)
@click.option(
    "--cases",
    "folder_of_cases",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Ask the help.toml, tools.toml and json.toml of this folder.  [default: the held-out set]",
)
@click.option(
    "--against",
    metavar="FP32",
    help="Ask no cases, but measure token by token how far the models are from this float32 parent.",
)
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --against: a text file to read.  [default: conversations that calibration never reads]",
)
@click.option("--misses", is_flag=True, help="Print every wrong answer, and what was wanted.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of the table.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads to compute with. [default: all cores]")
def evaluate(
    *,
    models: tuple[str, ...],
    only: tuple[str, ...],
    grammar: bool,
    folder_of_cases: Path | None,
    against: str | None,
    text: Path | None,
    misses: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Measure how good models are, on questions, tools and schemas that the demo model never saw.

    MODEL is a model of the store or a model folder; several are compared side by side. Without one it is
    the demo model. Where its float32 parent was recorded, those figures stand beside it. About two minutes
    a model.

    With --against it is another measure: perplexity, KL divergence and agreement with the float32 parent, of
    what `localphi quantize` made of it.
    """
    settings = settings_from(threads=threads)
    store = ModelStore(settings.home)
    if against is not None:
        if only or grammar or folder_of_cases or misses:
            raise click.UsageError("--against reads text and asks no cases: leave the other options out.")
        folders = [store.pin(model).default() for model in models] or [store.default()]
        _compare(store.pin(against).default(), folders, text, settings.threads, as_json)
        return
    if text:
        raise click.UsageError("--text is read to compare models: give --against with their parent, too.")
    try:
        cases, kinds = load_cases(folder_of_cases or HELD_OUT), only or KINDS
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cases") from None
    folders = [store.pin(model).default() for model in models] or [store.default()]
    columns, record_note = [], ""
    for folder in folders:
        total = number_of_cases(cases, kinds)
        with tqdm(total=total, desc=folder.id, unit="case", leave=False, disable=None) as bar:

            def told(item: Judged, bar: tqdm[None] = bar) -> None:
                bar.update()
                if misses and not item.right:
                    bar.write(_miss(item))

            asker = Asker(folder.path, settings.threads, guided=grammar)
            counts = count(judge(asker, cases, kinds, told))
        columns.append(table.Column(_name(folder, folders), counts))
    record = None if folder_of_cases else table.load_record()
    if len(folders) == 1 and record and record.revision == folders[0].manifest.origin.get("revision"):
        counts = {name: one for name, one in record.counts.items() if name in columns[0].counts}
        columns.append(table.Column("fp32 parent", counts))
        record_note = f"fp32 parent: recorded {record.measured}; always without a grammar."
    if as_json:
        click.echo(table.as_json(columns))
        return
    click.echo(table.table(columns))
    if record_note:
        click.echo(record_note)


def _compare(
    parent: ModelFolder, folders: list[ModelFolder], text: Path | None, threads: int, as_json: bool
) -> None:
    from localphi.toolchain.evaluate.compare import as_json as line_of
    from localphi.toolchain.evaluate.compare import compare
    from localphi.toolchain.evaluate.compare import table as table_of
    from localphi.toolchain.quantize.calibration import conversation_rows, text_rows

    prompt_format = parent.manifest.prompt_format
    rows = (
        text_rows(parent.path, text, _COMPARED_ROWS)
        if text
        else conversation_rows(parent.path, prompt_format, "evaluation", _COMPARED_ROWS)
    )
    with tqdm(total=len(rows), desc=parent.id, unit="text", leave=False, disable=None) as bar:
        results = compare(parent.path, [folder.path for folder in folders], rows, threads, bar.update)
    click.echo(line_of(results) if as_json else table_of(results))


def _name(folder: ModelFolder, folders: list[ModelFolder]) -> str:
    """The id, or where two have the same the folder."""
    same = [other for other in folders if other.id == folder.id]
    return folder.id if len(same) == 1 else Path(folder.path).name


def _miss(item: Judged) -> str:
    calls = [f"{call.name}({call.arguments})" for call in item.answer.calls]
    said = " ".join(filter(None, (item.answer.text, *calls)))
    failed = ", ".join(name for name, verdict in item.verdicts.items() if not verdict)
    return f"[{failed}] {item.ask}\n    said   {said}\n    wanted {item.wanted}"
