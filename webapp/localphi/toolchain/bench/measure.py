"""Rounds over all cells and targets, in turn, so that a machine that slows down slows all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

from localphi.toolchain.bench.answers import Timed, Together
from localphi.toolchain.bench.plan import Cell, Http, Lengths, Plan, Prefix, Prompts, Streams, work
from localphi.toolchain.bench.targets import DoesNotFit, Target

WARM_UP_PROMPT, WARM_UP_TOKENS = 40, 8

Told = Callable[[str, int], object]
"""Hears before each answer what is asked, and how much work the one before was."""


@dataclass(frozen=True)
class Shared:
    """A prompt read from its beginning, and others of which most was read then."""

    cold: Timed
    others: tuple[Timed, ...]


@dataclass
class Measured:
    """What one target did in one cell, a value for each round. too_long: the model has no room for it."""

    target: str
    cell: Cell
    answers: list[Timed] = field(default_factory=list)
    together: list[Together] = field(default_factory=list)
    shared: list[Shared] = field(default_factory=list)
    too_long: bool = False


def measure(
    targets: Sequence[Target], plan: Plan, told: Told, bare: Mapping[str, Target] | None = None
) -> list[Measured]:
    """Every cell of the plan, by every target, `plan.rounds` times after a warm-up.

    bare: the engines behind those targets that have one in this process, by the name of the target; they are
    asked in the cells that compare both. Raises BenchFailed when a target refuses or breaks.
    """
    bare = bare or {}
    prompts = Prompts()
    jobs = [
        (Measured(asked.name, cell), asked)
        for cell in plan.cells()
        for target in targets
        for asked in _askers(cell, target, bare)
    ]
    for target in (*targets, *bare.values()):
        told(f"{target.name}: warming up", 0)
        target.ask(prompts.new(WARM_UP_PROMPT), WARM_UP_TOKENS)
    for _ in range(plan.rounds):
        for job, target in jobs:
            if not job.too_long:
                told(f"{target.name}: {describe(job.cell)}", 0)
                _run(job, target, prompts)
            told("", work(job.cell))
    return [job for job, _ in jobs]


def total_work(targets: int, compared: int, plan: Plan) -> int:
    """What `told` will have heard at the end. compared: how many targets have their bare engine here."""
    each = sum(work(cell) * (2 * compared if isinstance(cell, Http) else targets) for cell in plan.cells())
    return each * plan.rounds


def describe(cell: Cell) -> str:
    match cell:
        case Lengths(prompt, generate):
            return f"prompt {prompt}, {generate} tokens"
        case Streams(streams, generate):
            return f"{streams} at a time, {generate} tokens each"
        case Prefix(shared):
            return f"{shared} shared tokens"
        case Http():
            return "with and without HTTP"


def _askers(cell: Cell, target: Target, bare: Mapping[str, Target]) -> tuple[Target, ...]:
    if not isinstance(cell, Http):
        return (target,)
    return (target, bare[target.name]) if target.name in bare else ()


def _run(job: Measured, target: Target, prompts: Prompts) -> None:
    try:
        match job.cell:
            case Lengths(prompt, generate) | Http(generate, prompt):
                job.answers.append(target.ask(prompts.new(prompt), generate))
            case Streams(streams, generate, prompt):
                job.together.append(_at_once(target, [prompts.new(prompt) for _ in range(streams)], generate))
            case Prefix(shared, own, others, generate):
                alike = prompts.alike(shared, own)
                cold = target.ask(next(alike), generate)
                job.shared.append(
                    Shared(cold, tuple(target.ask(next(alike), generate) for _ in range(others)))
                )
    except DoesNotFit:
        job.too_long = True


def _at_once(target: Target, prompts: Sequence[Sequence[int]], generate: int) -> Together:
    barrier = Barrier(len(prompts))

    def ask(prompt: Sequence[int]) -> Timed:
        barrier.wait()
        return target.ask(prompt, generate)

    with ThreadPoolExecutor(len(prompts)) as pool:
        return Together(tuple(pool.map(ask, prompts)))
