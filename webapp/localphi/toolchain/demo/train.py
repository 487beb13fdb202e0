"""The training run: resumable, with one progress line, a loss curve, and a Hugging Face folder at the end."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from localphi.toolchain.demo.network import new_network, save_network
from localphi.toolchain.demo.optimiser import Optimiser
from localphi.toolchain.demo.rows import Row, Rows
from localphi.toolchain.demo.settings import SHAPE, Plan
from localphi.toolchain.demo.start import start_weights


@dataclass(frozen=True)
class Machine:
    """What computes. device: PyTorch's name of it. bf16: matrix products in bfloat16, weights in float32."""

    device: str = "cpu"
    threads: int = 2
    bf16: bool = False


def train(rows: Rows, plan: Plan, work: Path, machine: Machine, start: Path | None = None) -> Path:
    """Train to the last step, going on from the checkpoint in `work` if the plan is the same.

    start: a model folder to begin with instead of fresh weights. Returns the Hugging Face folder with the
    weights. Killing it loses at most `checkpoint_every` steps.
    """
    import torch

    torch.set_num_threads(machine.threads)
    run = _Run(plan, work, machine, start)
    started, tokens = time.monotonic(), 0
    for number in range(run.step, plan.steps):
        groups = rows.step(number)
        run.advance(groups)
        tokens += sum(len(row.ids) for group in groups for row in group)
        if number % 10 == 9 or number + 1 == plan.steps:
            _report(number + 1, run, tokens / (time.monotonic() - started), started)
        if (number + 1) % plan.checkpoint_every == 0 or number + 1 == plan.steps:
            run.save()
    folder = work / "trained"
    save_network(run.network, folder)
    plot_losses(run.losses, work / "loss.png")
    return folder


class _Run:
    """What a checkpoint holds: network, optimiser, and the loss of every step so far."""

    def __init__(self, plan: Plan, work: Path, machine: Machine, start: Path | None) -> None:
        self.plan = plan
        self._machine = machine
        self.network: Any = new_network(plan.seed).to(machine.device)
        if start:
            self.network.load_state_dict(start_weights(start))
        self._optimiser = Optimiser(self.network, plan.weight_decay, machine.bf16)
        self.losses: list[float] = []
        self.first_step = 0
        self._path = work / "checkpoint.pt"
        self._key = json.dumps([asdict(plan), asdict(SHAPE), start is not None])
        self._resume()

    @property
    def step(self) -> int:
        return len(self.losses)

    def advance(self, groups: list[list[Row]]) -> None:
        """One optimiser step; the loss is added to `losses`."""
        import torch

        total = sum(sum(row.weights[1:]) for group in groups for row in group)
        whole = 0.0
        for rows in groups:
            with torch.autocast(self.network.device.type, torch.bfloat16, enabled=self._machine.bf16):
                loss = _loss(self.network, rows) / total
            loss.backward()
            whole += loss.item()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self._optimiser.step(rate_at(self.step, self.plan))
        self.losses.append(whole)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        import torch

        state = {"network": self.network.state_dict(), "optimiser": self._optimiser.state()}
        partial = self._path.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"key": self._key, "losses": self.losses, **state}, partial)
        partial.replace(self._path)

    def _resume(self) -> None:
        import torch

        if not self._path.exists():
            return
        state: dict[str, Any] = torch.load(self._path, map_location=self.network.device, weights_only=True)
        if state["key"] != self._key:
            click.echo(f"{self._path} is of another plan: starting again")
            return
        self.network.load_state_dict(state["network"])
        self._optimiser.load(state["optimiser"])
        self.losses = state["losses"]
        self.first_step = self.step
        click.echo(f"going on from step {self.step}")


def rate_at(step: int, plan: Plan) -> float:
    """Learning rate: linear warm-up, then half a cosine down to the final rate."""
    if step < plan.warm_up_steps:
        return plan.peak_rate * (step + 1) / plan.warm_up_steps
    done = (step - plan.warm_up_steps) / max(1, plan.steps - plan.warm_up_steps)
    return plan.final_rate + (plan.peak_rate - plan.final_rate) * (1 + math.cos(math.pi * done)) / 2


def plot_losses(losses: list[float], path: Path) -> None:
    """Draw the loss of every step and its running mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    mean, smooth = losses[0], []
    for loss in losses:
        mean = 0.95 * mean + 0.05 * loss
        smooth.append(mean)
    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    axes.semilogy(losses, linewidth=0.4, color="#b8c4d6")
    axes.semilogy(smooth, linewidth=1.4, color="#1f4e9c")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (weighted)")
    axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


def _loss(network: Any, rows: list[Row]) -> Any:
    """The weighted sum of the losses. Logits are computed only where a token counts."""
    import torch

    device = network.device
    ids = torch.tensor([row.ids for row in rows], device=device)  # (B, T)
    weights = torch.tensor([row.weights for row in rows], device=device)[:, 1:]  # (B, T - 1)
    counts = weights > 0
    hidden = network.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state  # (B, T - 1, hidden)
    logits = network.lm_head(hidden[counts])  # (N, V)
    each = torch.nn.functional.cross_entropy(logits, ids[:, 1:][counts], reduction="none")
    return (each * weights[counts]).sum()


def _report(step: int, run: _Run, speed: float, started: float) -> None:
    done = step - run.first_step
    left = (run.plan.steps - step) * (time.monotonic() - started) / done
    recent = run.losses[-10:]
    mean = sum(recent) / len(recent)
    click.echo(
        f"step {step}/{run.plan.steps}  loss {mean:.4f}  {speed:.0f} tokens/s  {left / 60:.1f} min left"
    )
