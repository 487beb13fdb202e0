"""Trains a LoRA adapter on a model as it is served: on conversations, or on what a better model thinks.

Resumable: a checkpoint lies beside the adapters until the adapter is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localphi.config import disable_telemetry
from localphi.errors import CannotTrain, ToolchainMissing
from localphi.models.adapters import Adapter, AdapterStore, base_of
from localphi.models.store import ModelFolder
from localphi.toolchain.adapters.convert import add_changes, lora_graph
from localphi.toolchain.adapters.peft import Change
from localphi.toolchain.adapters.texts import Text

Progress = Callable[[int, float], object]
"""Gets the number of steps done, and the mean loss of the last one in nats."""
_CHECKPOINT_EVERY = 25


@dataclass(frozen=True)
class Plan:
    """scale: what the change is multiplied by, PEFT's alpha over rank. targets: ends of names of layers."""

    steps: int = 200
    rank: int = 8
    scale: float = 2.0
    batch: int = 4
    learning_rate: float = 1e-3
    seed: int = 0
    targets: tuple[str, ...] = ("qkv_proj", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                "gate_up_proj", "down_proj", "fc1", "fc2")  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """losses: of every step, in nats for each token that is learnt. network: with what it has learnt."""

    adapter: Adapter
    losses: tuple[float, ...]
    network: Any


def train(
    store: AdapterStore,
    folder: ModelFolder,
    name: str,
    texts: Sequence[Text],
    plan: Plan = Plan(),
    *,
    parent: Path | None = None,
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Train an adapter and list it in the store.

    parent: folder of a better model of the same shape, such as the float32 one that this was quantized from.
    Then all tokens of the texts are learnt, each as the parent foresees it (KL divergence); else the answers.
    Raises CannotTrain, or ToolchainMissing without torch. A run that was cut off goes on from its checkpoint.
    """
    disable_telemetry()
    try:
        import torch
    except ImportError as error:
        raise ToolchainMissing("torch", "toolchain") from error
    torch.set_num_threads(threads)
    torch.manual_seed(plan.seed)
    run = _Run(folder, texts, plan, parent=parent, path=store.checkpoint(folder.id, name))
    while run.step < plan.steps:
        loss = run.advance()
        progress(run.step, loss)
        if run.step % _CHECKPOINT_EVERY == 0:
            run.save()
    changes = {site: Change(down, up) for site, (down, up) in run.network.changes().items()}
    aim = ", to be like its parent" if parent else ""
    source = f"trained here, {len(texts)} texts, {plan.steps} steps{aim}"
    modules = {site.replace(".attn.", ".self_attn."): change for site, change in changes.items()}
    adapter = add_changes(store, folder, modules, name, source=source)
    run.forget()
    return Trained(adapter, tuple(run.losses), run.network)


def divergence(
    folder: ModelFolder, parent: Path, texts: Sequence[Text], trained: Trained | None = None
) -> float:
    """Mean KL divergence of a model, or of what was trained on it, from its parent; nats for each token."""
    import torch

    from localphi.toolchain.adapters.network import GraphNetwork

    better = GraphNetwork(parent, {}, 0, 1.0)
    network = trained.network if trained else GraphNetwork(folder.path, {}, 0, 1.0)
    total, count = 0.0, 0
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([text.ids])
            total += float(_divergences(network(ids), better(ids)).sum())
            count += len(text.ids)
    return total / count


def _divergences(logits: Any, wanted: Any) -> Any:
    import torch

    told, foreseen = torch.log_softmax(logits, -1), torch.log_softmax(wanted, -1)
    return (foreseen.exp() * (foreseen - told)).sum(-1)


class _Run:
    """What a checkpoint holds: what was learnt, the optimiser's state, and the losses so far."""

    def __init__(
        self, folder: ModelFolder, texts: Sequence[Text], plan: Plan, *, parent: Path | None, path: Path
    ) -> None:
        import torch

        from localphi.toolchain.adapters.network import GraphNetwork

        lora_graph(folder)  # raises where the model cannot take the adapter in the end
        sites = _sites(folder.path, plan.targets)
        self._texts, self._plan = texts, plan
        self.network = GraphNetwork(folder.path, sites, plan.rank, plan.scale)
        self._parent = None if parent is None else GraphNetwork(parent, {}, 0, 1.0)
        self._optimiser: Any = torch.optim.AdamW(
            self.network.parameters(), lr=plan.learning_rate, weight_decay=0.0
        )
        self.losses: list[float] = []
        self._path = path
        learnt = hashlib.sha256(repr([(text.ids, text.answer) for text in texts]).encode()).hexdigest()
        self._key = json.dumps([asdict(plan), base_of(folder.manifest), learnt, str(parent)])
        if self._path.is_file():
            saved: Any = torch.load(self._path, weights_only=True)
            if saved["key"] == self._key:
                self.network.load_state_dict(saved["learnt"])
                self._optimiser.load_state_dict(saved["optimiser"])
                self.losses = list(saved["losses"])

    @property
    def step(self) -> int:
        return len(self.losses)

    def advance(self) -> float:
        """One step over a batch that its number alone decides."""
        import torch

        chance = random.Random(f"{self._plan.seed} {self.step}")
        texts = [chance.choice(self._texts) for _ in range(self._plan.batch)]
        self._optimiser.zero_grad()
        counts = [len(text.ids) if self._parent else len(text.ids) - text.answer for text in texts]
        total = 0.0
        for text in texts:
            loss = self._loss(text) / sum(counts)
            loss.backward()
            total += float(loss.detach())
        if not total < float("inf"):
            raise CannotTrain(f"The loss is {total} in step {self.step + 1}. Try a smaller --learning-rate.")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        self.losses.append(total)
        return total

    def _loss(self, text: Text) -> Any:
        """Summed over the tokens that are learnt."""
        import torch
        from torch.nn import functional

        ids = torch.tensor([text.ids])
        logits = self.network(ids)
        if self._parent is not None:
            with torch.no_grad():
                wanted = self._parent(ids)
            return _divergences(logits, wanted).sum()
        begin = max(text.answer, 1)
        return functional.cross_entropy(logits[0, begin - 1 : -1], ids[0, begin:], reduction="sum")

    def save(self) -> None:
        import torch

        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        state = {
            "key": self._key,
            "learnt": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "losses": self.losses,
        }
        torch.save(state, partial)
        os.replace(partial, self._path)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _sites(folder: Path, targets: Sequence[str]) -> dict[str, str]:
    """Sites by the names of the nodes. Raises CannotTrain when no layer has one of the names."""
    from localphi.toolchain.graphs.lora import site_of
    from localphi.toolchain.quantize.floatgraph import read_graph

    found = {}
    for node in read_graph(folder).graph.node:
        site = site_of(node.name) if node.op_type in ("MatMul", "MatMulNBits") else None
        if site is not None and site.rpartition(".")[2] in targets:
            found[node.name] = site
    if not found:
        raise CannotTrain(f"No layer of the model is named {', '.join(targets)}.")
    return found
