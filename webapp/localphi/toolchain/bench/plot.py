"""The picture of a report: time to the first token, speed by streams, what a shared prefix saves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localphi.errors import ToolchainMissing
from localphi.toolchain.bench.report import Report, Row


def plot(made: Report, path: Path) -> None:
    """Write a PNG or SVG, by the ending of `path`. Raises ToolchainMissing without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise ToolchainMissing("matplotlib", "toolchain") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [
        (_ttft, _first_lengths(made)),
        (_decode, _last_lengths(made)),
        (_streams, made.streams),
        (_prefix, made.prefix),
    ]
    drawn = [(draw, rows) for draw, rows in panels if rows]
    figure, axes = plt.subplots(1, len(drawn), figsize=(4.6 * len(drawn), 3.8), squeeze=False)
    try:
        for axis, (draw, rows) in zip(axes[0], drawn, strict=True):
            draw(axis, rows)
            axis.grid(alpha=0.3)
        figure.suptitle(f"{made.machine.processor}, {made.machine.cores} cores, {made.machine.date[:10]}")
        figure.tight_layout()
        figure.savefig(path, dpi=130)
    finally:
        plt.close(figure)


def _first_lengths(made: Report) -> list[Row]:
    return [row for row in made.lengths if row.cell["generate"] == made.plan.generate[0]]


def _last_lengths(made: Report) -> list[Row]:
    return [row for row in made.lengths if row.cell["generate"] == made.plan.generate[-1]]


def _lines(axis: Any, rows: Sequence[Row], across: str, figure: str) -> None:
    for target in dict.fromkeys(row.target for row in rows):
        points = [
            (row.cell[across], spread)
            for row in rows
            if row.target == target and (spread := row.figures[figure]) is not None
        ]
        if not points:
            continue
        middle = [spread.median for _, spread in points]
        below = [spread.median - spread.least for _, spread in points]
        above = [spread.most - spread.median for _, spread in points]
        axis.errorbar([x for x, _ in points], middle, [below, above], marker="o", capsize=3, label=target)
    axis.legend(fontsize="small")


def _ttft(axis: Any, rows: Sequence[Row]) -> None:
    _lines(axis, rows, "prompt", "ttft_ms")
    axis.set(title="First token", ylabel="ms", yscale="log")
    _prompts_across(axis, rows)


def _decode(axis: Any, rows: Sequence[Row]) -> None:
    _lines(axis, rows, "prompt", "decode_tokens_per_s")
    axis.set(title="Decoding, one answer", ylabel="tokens/s")
    axis.set_ylim(bottom=0)
    _prompts_across(axis, rows)


def _prompts_across(axis: Any, rows: Sequence[Row]) -> None:
    lengths = sorted({row.cell["prompt"] for row in rows})
    axis.set(xlabel="tokens of the prompt", xscale="log")
    axis.minorticks_off()
    axis.set_xticks(lengths, [str(length) for length in lengths])


def _streams(axis: Any, rows: Sequence[Row]) -> None:
    _lines(axis, rows, "streams", "decode_tokens_per_s")
    axis.set(title="Decoding, all answers", xlabel="answers at the same time", ylabel="tokens/s together")
    axis.set_ylim(bottom=0)


def _prefix(axis: Any, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        for place, (name, label) in enumerate((("cold_ttft_ms", "cold"), ("shared_ttft_ms", "known"))):
            spread = row.figures[name]
            if spread is not None:
                once = "_" if number else label  # what begins so is not in the legend
                axis.bar(number - 0.2 + place * 0.4, spread.median, 0.38, color=f"C{place}", label=once)
    axis.legend(fontsize="small")
    axis.set(title="A prompt whose beginning is known", ylabel="ms to the first token")
    axis.set_xticks(range(len(rows)), [row.target for row in rows])
