"""What was measured, as tables for people and as one line of JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from localphi.toolchain.bench.answers import Timed
from localphi.toolchain.bench.machine import Machine
from localphi.toolchain.bench.measure import Measured
from localphi.toolchain.bench.plan import Http, Lengths, Plan, Prefix, Streams

TOKEN_AT_50_MS = 20.0  # a token at 50 tokens/s; what HTTP adds is told as a part of it


@dataclass(frozen=True)
class Spread:
    """Median, least and most of the rounds; None where nothing was measured."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        known = [value for value in values if value is not None]
        return cls(statistics.median(known), min(known), max(known)) if known else None

    def rounded(self) -> list[float]:
        return [float(f"{value:.4g}") for value in (self.median, self.least, self.most)]


@dataclass(frozen=True)
class Row:
    """Figures of one target in one cell, by their names; each is [median, least, most], or null."""

    target: str
    cell: dict[str, Any]
    figures: dict[str, Spread | None]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        figures = {name: spread.rounded() if spread else None for name, spread in self.figures.items()}
        return {"target": self.target, **self.cell, **figures, **({"note": self.note} if self.note else {})}


@dataclass(frozen=True)
class Report:
    """command: what was typed to make it."""

    plan: Plan
    machine: Machine
    command: str
    lengths: list[Row] = field(default_factory=list)
    streams: list[Row] = field(default_factory=list)
    prefix: list[Row] = field(default_factory=list)
    http: list[Row] = field(default_factory=list)

    def as_json(self) -> str:
        """One line."""
        rows = {part: [row.as_json() for row in getattr(self, part)] for part in self.plan.parts}
        head = {"bench": "localphi", "command": self.command, "figures": "[median, least, most]"}
        return json.dumps({**head, **asdict(self.machine), "rounds": self.plan.rounds, **rows})

    def markdown(self) -> str:
        """A section of a page: the command, and the tables as they stand on a terminal."""
        return f"## {self.machine.date[:10]}: `{self.command}`\n\n```\n{self.table()}\n```\n"

    def table(self) -> str:
        """All parts, one under the other."""
        parts = (_lengths_table(self), _streams_table(self), _prefix_table(self), _http_table(self))
        return "\n\n".join([*filter(None, parts), self.machine.sentence(self.plan.rounds)])


def report(measured: Sequence[Measured], plan: Plan, machine: Machine, command: str) -> Report:
    made = Report(plan, machine, command)
    compared = [(job, job.cell) for job in measured if isinstance(job.cell, Http)]
    for (served, cell), (bare, _) in zip(compared[::2], compared[1::2], strict=True):
        made.http.extend((_http_row(served, cell, bare), _http_row(bare, cell)))
    for job in measured:
        match job.cell:
            case Lengths():
                made.lengths.extend(_length_rows(job, job.cell, plan))
            case Streams():
                made.streams.append(_streams_row(job, job.cell))
            case Prefix():
                made.prefix.append(_prefix_row(job, job.cell))
            case Http():
                pass
    return made


def _note(job: Measured, answers: Iterable[Timed], wanted: int) -> str:
    if job.too_long:
        return "longer than the context"
    shortest = min((answer.tokens for answer in answers), default=wanted)
    return f"ended after {shortest} tokens" if shortest < wanted else ""


def _length_rows(job: Measured, cell: Lengths, plan: Plan) -> list[Row]:
    answers = job.answers
    return [
        Row(
            job.target,
            {"prompt": cell.prompt, "generate": tokens},
            {
                "ttft_ms": Spread.of(answer.ttft_s * 1000 for answer in answers),
                "prefill_tokens_per_s": Spread.of(cell.prompt / answer.ttft_s for answer in answers),
                "decode_tokens_per_s": Spread.of(answer.decode_tokens_per_s(tokens) for answer in answers),
                "tokens_per_s": Spread.of(answer.tokens_per_s(tokens) for answer in answers),
            },
            _note(job, answers, tokens),
        )
        for tokens in plan.generate
    ]


def _streams_row(job: Measured, cell: Streams) -> Row:
    together = job.together
    return Row(
        job.target,
        {"streams": cell.streams, "prompt": cell.prompt, "generate": cell.generate},
        {
            "decode_tokens_per_s": Spread.of(one.decode_tokens_per_s for one in together),
            "steady_tokens_per_s": Spread.of(one.steady_tokens_per_s for one in together),
            "ttft_median_ms": Spread.of(statistics.median(one.ttfts_s) * 1000 for one in together),
            "ttft_slowest_ms": Spread.of(one.ttfts_s[-1] * 1000 for one in together),
        },
        _note(job, (answer for one in together for answer in one.answers), cell.generate),
    )


def _prefix_row(job: Measured, cell: Prefix) -> Row:
    shared = job.shared
    return Row(
        job.target,
        {"shared": cell.shared, "own": cell.own},
        {
            "cold_ttft_ms": Spread.of(one.cold.ttft_s * 1000 for one in shared),
            "shared_ttft_ms": Spread.of(
                statistics.median(answer.ttft_s for answer in one.others) * 1000 for one in shared
            ),
            "shared_of_cold": Spread.of(
                statistics.median(answer.ttft_s for answer in one.others) / one.cold.ttft_s for one in shared
            ),
        },
        _note(job, (one.cold for one in shared), cell.generate),
    )


def _http_row(job: Measured, cell: Http, bare: Measured | None = None) -> Row:
    """bare: what the engine behind a server did in the same rounds, without HTTP."""
    figures = {
        "ttft_ms": Spread.of(answer.ttft_s * 1000 for answer in job.answers),
        "decode_tokens_per_s": Spread.of(answer.decode_tokens_per_s() for answer in job.answers),
    }
    if bare is not None:
        pairs = list(zip(job.answers, bare.answers, strict=False))
        figures["added_ttft_ms"] = Spread.of((one.ttft_s - other.ttft_s) * 1000 for one, other in pairs)
        figures["added_ms_per_token"] = Spread.of(
            (one.decode_s_per_token - other.decode_s_per_token) * 1000 for one, other in pairs
        )
    shape = {"prompt": cell.prompt, "generate": cell.generate}
    return Row(job.target, shape, figures, _note(job, job.answers, cell.generate))


def lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; words to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if not number else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *rest]).rstrip()

    return "\n".join([line(header), *map(line, rows)])


def _shown(spread: Spread | None) -> str:
    """The median, and behind it how far the rounds lie apart."""
    if spread is None:
        return "–"
    around = (spread.most - spread.least) / 2 / abs(spread.median) * 100 if spread.median else 0
    return f"{_number(spread.median)} ±{around:.0f}%" if around >= 0.5 else _number(spread.median)


def _number(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _by_target(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.target, {})[key(row)] = row
    return found


def _lengths_table(made: Report) -> str:
    """A block for each target: a line for each prompt, a column for each length of answer."""
    if not made.lengths:
        return ""
    blocks = []
    for target, rows in _by_target(
        made.lengths, lambda row: f"{row.cell['prompt']}/{row.cell['generate']}"
    ).items():
        header = ["prompt", "TTFT ms", "prefill tok/s", *(f"{n} tokens" for n in made.plan.generate), ""]
        body = []
        for prompt in made.plan.prompts:
            cells = [rows[f"{prompt}/{tokens}"] for tokens in made.plan.generate]
            figures = cells[0].figures
            speeds = [_shown(cell.figures["tokens_per_s"]) for cell in cells]
            body.append(
                [
                    str(prompt),
                    _shown(figures["ttft_ms"]),
                    _shown(figures["prefill_tokens_per_s"]),
                    *speeds,
                    cells[-1].note,
                ]
            )
        title = f"{target}: one answer; tokens/s of its first so many tokens, reading the prompt included"
        decode = rows[f"{made.plan.prompts[0]}/{made.plan.generate[-1]}"].figures["decode_tokens_per_s"]
        end = f"decoding alone, behind the shortest prompt: {_shown(decode)} tokens/s"
        blocks.append(f"{title}\n{lines(header, body)}\n{end}")
    return "\n\n".join(blocks)


def _streams_table(made: Report) -> str:
    if not made.streams:
        return ""
    header = ["at a time", "target", "tok/s together", "of one", "steady", "TTFT median ms", "slowest", ""]
    first: dict[str, Spread | None] = {}
    body = []
    for row in made.streams:
        speed = row.figures["decode_tokens_per_s"]
        alone = first.setdefault(row.target, speed if row.cell["streams"] == 1 else None)
        ratio = f"{speed.median / alone.median:.2f} x" if speed and alone else "–"
        names = ("steady_tokens_per_s", "ttft_median_ms", "ttft_slowest_ms")
        shown = [_shown(row.figures[name]) for name in names]
        body.append([str(row.cell["streams"]), row.target, _shown(speed), ratio, *shown, row.note])
    tokens = made.plan.stream_tokens
    title = f"Several answers at the same time, {tokens} tokens each; steady: while all of them decode"
    return f"{title}\n{lines(header, body)}"


def _prefix_table(made: Report) -> str:
    if not made.prefix:
        return ""
    names = ("cold_ttft_ms", "shared_ttft_ms", "shared_of_cold")
    body = [[row.target, *(_shown(row.figures[name]) for name in names), row.note] for row in made.prefix]
    shared, own = (made.prefix[0].cell[name] for name in ("shared", "own"))
    title = f"A prompt of {shared} + {own} tokens; known: the first {shared} were read before"
    return f"{title}\n{lines(['target', 'cold TTFT ms', 'known TTFT ms', 'known/cold', ''], body)}"


def _http_table(made: Report) -> str:
    """Pairs of rows: a server, and its engine without HTTP."""
    body = []
    for row in made.http:
        figures = row.figures
        added = figures.get("added_ms_per_token")
        share = f"{added.median / TOKEN_AT_50_MS:+.1%}" if added else ""
        shown = [_shown(figures[name]) for name in ("ttft_ms", "decode_tokens_per_s")]
        body.append([row.target, *shown, _shown(added) if added else "", share, row.note])
    if not body:
        return ""
    title = "What HTTP and server-sent events cost, and as a part of a token's time at 50 tokens/s"
    return f"{title}\n{lines(['target', 'TTFT ms', 'decode tok/s', 'added ms/token', 'part', ''], body)}"
