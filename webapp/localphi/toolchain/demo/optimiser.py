"""Muon for the matrices, AdamW for the embedding and the gains."""

from __future__ import annotations

from typing import Any

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
# Of Muon's rate: for the embedding, whose entries are near 1, the head, the gains.
_ADAM_SHARES = (4.0, 2.0, 2.0)


class Optimiser:
    """Steps a network's parameters.

    PyTorch's own `torch.optim.Muon` orthogonalises in bfloat16, which many processors compute slower than
    float32 (LOG.md); this one does so only where `bf16` is wanted.
    """

    def __init__(self, network: Any, weight_decay: float, bf16: bool = False) -> None:
        import torch

        named = list(network.named_parameters())
        tables = ("embed_tokens", "lm_head")
        self._matrices = [p for name, p in named if p.dim() == 2 and not any(t in name for t in tables)]
        gains = [p for _, p in named if p.dim() == 1]
        self._momenta = [torch.zeros_like(p) for p in self._matrices]
        self._decay = weight_decay
        self._kind = torch.bfloat16 if bf16 else torch.float32
        groups = [[network.model.embed_tokens.weight], [network.lm_head.weight], gains]
        self._adam: Any = torch.optim.AdamW(
            [{"params": group} for group in groups], betas=(0.9, 0.95), weight_decay=0.0, fused=True
        )

    def step(self, rate: float) -> None:
        """Use the gradients and clear them."""
        import torch

        with torch.no_grad():
            for matrix, momentum in zip(self._matrices, self._momenta, strict=True):
                momentum.lerp_(matrix.grad, 0.05)
                update = orthogonal(matrix.grad.lerp(momentum, 0.95).to(self._kind)).float()
                # The same size of step as Adam's, whatever the shape (Moonshot, "Muon is scalable").
                matrix.mul_(1 - rate * self._decay)
                matrix.add_(update, alpha=-rate * 0.2 * max(matrix.shape) ** 0.5)
                matrix.grad = None
        for group, share in zip(self._adam.param_groups, _ADAM_SHARES, strict=True):
            group["lr"] = rate * share
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        return {"momenta": self._momenta, "adam": self._adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        for momentum, saved in zip(self._momenta, state["momenta"], strict=True):
            momentum.copy_(saved)
        self._adam.load_state_dict(state["adam"])


def orthogonal(matrix: Any) -> Any:
    """The nearest matrix with singular values near 1: five Newton-Schulz steps, K. Jordan's coefficients."""
    a, b, c = _POLYNOMIAL
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
