"""What the choices of `localphi build` cost and gain in speed, on a model of full size with random weights.

One model for each choice, all served at once and asked in turn by `localphi bench`:

    b128        what `build` does by itself: int4 in blocks of 128, accuracy level 4, int8 head, last logits
    b32         blocks of 32, as onnxruntime's own builder makes them
    int4-head   the last layer in int4, too
    all-logits  the logits of every position of the prompt
    level-0     activations stay float32

    python tests/bench/bench_exports.py WORK_FOLDER [--shape phi-3-mini-4k] [--export b128] [bench options]

Models that WORK_FOLDER has are used again; each takes 2.4 to 2.9 GB there and as much memory. Random weights
say nothing about quality: docs/quantization.md does.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

EXPORTS = {
    "b128": [],
    "b32": ["--block-size", "32"],
    "int4-head": ["--head", "int4"],
    "all-logits": ["--all-logits"],
    "level-0": ["--accuracy-level", "0"],
}
LOCALPHI = [sys.executable, "-c", "from localphi.cli import main; main()"]
ASKED = ["--only", "lengths", "--prompts", "64,512", "--generate", "64", "--rounds", "3"]


def build(name: str, work: Path, shape: str) -> Path:
    folder = work / f"{shape.replace(':', '-').replace('=', '')}-{name}"
    if not (folder / "localphi.json").is_file():
        made = ["build", "--random-weights", shape, "--out", str(folder), "--id", name]
        subprocess.run([*LOCALPHI, *made, "--no-paged", *EXPORTS[name]], check=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--shape", default="phi-3-mini-4k")
    parser.add_argument("--export", choices=list(EXPORTS), action="append", help="[default: all]")
    parser.add_argument("--build-only", action="store_true")
    options, rest = parser.parse_known_args()
    names = options.export or list(EXPORTS)
    folders = [build(name, options.work, options.shape) for name in names]
    if options.build_only:
        return
    chosen = [word for name in options.export or () for word in ("--export", name)]
    typed = ["python", "tests/bench/bench_exports.py", "WORK", "--shape", options.shape, *chosen, *rest]
    command = [*LOCALPHI, "bench", *map(str, folders), *(rest or ASKED), "--command", shlex.join(typed)]
    raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
