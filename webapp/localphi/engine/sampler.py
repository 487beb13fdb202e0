"""A token from the logits, in numpy: what changes the logits first, then the choice.

    logits → repetition penalty → presence and frequency penalty → logit bias          adjusted()
           → temperature 0: the largest
           → else: ÷ temperature → top_k → top_p → min_p → draw among what is left     choose()

Every filter keeps the most likely token. top_k keeps or drops equal logits together, as Hugging Face's
transformers do; elsewhere the lower id wins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from localphi.chat import Sampling

Logits = npt.NDArray[np.float32]
"""Of one token, unnormalised. (V)"""
_Indices = npt.NDArray[np.intp]

# How far below the most likely token top_p looks, until it has what it wants.
_DEPTHS = (6.0, 12.0, 24.0, 48.0, math.inf)
_COLDEST = float(np.finfo(np.float32).tiny)


class Sampler:
    """Chooses the tokens of one answer. The same seed and the same logits give the same tokens."""

    def __init__(self, sampling: Sampling, prompt: Iterable[int]) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._generated: Counter[int] = Counter()
        self._seen = set(prompt) if sampling.repetition_penalty != 1 else set()
        self._bias = dict(sampling.logit_bias)

    def adjusted(self, logits: Logits) -> Logits:
        """`logits` after penalties and bias: a copy, or the same array where there are none."""
        sampling = self._sampling
        if not sampling.adjusts:
            return logits
        logits = logits.copy()
        if self._seen:
            ids = _ids(self._seen)
            values, penalty = logits[ids], sampling.repetition_penalty
            logits[ids] = np.where(values < 0, values * penalty, values / penalty)
        if self._generated:
            counts = np.fromiter(self._generated.values(), np.float32, len(self._generated))
            logits[_ids(self._generated)] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        if self._bias:
            logits[_ids(self._bias)] += np.fromiter(self._bias.values(), np.float32, len(self._bias))
        return logits

    def choose(self, logits: Logits) -> int:
        """One token id from adjusted logits. Raises ValueError when they are no numbers."""
        top = int(logits.argmax())  # (V), the index of a NaN where there is one
        if not math.isfinite(logits[top]):
            raise ValueError("the model's logits are not finite")
        if self._sampling.temperature == 0:
            return top
        with np.errstate(over="ignore"):  # a temperature close to 0 gives -inf, and that is meant
            scores = (logits - logits[top]) / np.float32(max(self._sampling.temperature, _COLDEST))
        ids = self._candidates(scores)
        weights = np.exp(scores if ids is None else scores[ids])
        cumulative = weights.cumsum(dtype=np.float64)
        drawn = int(np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right"))
        drawn = min(drawn, len(cumulative) - 1)  # rounding
        return drawn if ids is None else int(ids[drawn])

    def skip(self) -> None:
        """One token was chosen elsewhere: leave out its random number."""
        if self._sampling.temperature > 0:
            self._random.random()

    def push(self, token: int) -> None:
        """Tell which token the answer goes on with; penalties count from the next one."""
        if self._sampling.adjusts:
            self._generated[token] += 1
        if self._sampling.repetition_penalty != 1:
            self._seen.add(token)

    def _candidates(self, scores: Logits) -> _Indices | None:
        """Ids among which is drawn, None for all. scores: logits ÷ temperature, 0 for the most likely. (V)"""
        sampling = self._sampling
        ids: _Indices | None = None
        if 0 < sampling.top_k < len(scores):
            ids = _largest(scores, sampling.top_k)
        if sampling.top_p < 1:
            kept = _nucleus(scores if ids is None else scores[ids], sampling.top_p)
            ids = kept if ids is None else ids[kept]
        if sampling.min_p > 0:
            likely = (scores if ids is None else scores[ids]) >= math.log(sampling.min_p)
            ids = np.flatnonzero(likely) if ids is None else ids[likely]
        return ids


def log_probabilities(logits: Logits, token: int, top: int) -> tuple[float, list[tuple[int, float]]]:
    """Natural logarithm of the probability of `token`, and of the `top` most likely tokens, best first."""
    peak = float(logits.max())
    total = peak + math.log(float(np.exp(logits - peak).sum(dtype=np.float64)))
    best: list[tuple[int, float]] = []
    if top:
        head = _largest(logits, min(top, len(logits)))
        order = head[np.argsort(-logits[head], kind="stable")][:top]
        best = [(int(index), float(logits[index] - total)) for index in order]
    return float(logits[token] - total), best


def _ids(tokens: Iterable[int]) -> _Indices:
    return np.fromiter(tokens, np.intp)


def _largest(scores: Logits, count: int) -> _Indices:
    """Indices of the `count` largest, ascending; more where the smallest of them has its like. (V)"""
    smallest = np.partition(scores, len(scores) - count)[len(scores) - count]
    return np.flatnonzero(scores >= smallest)


def _nucleus(scores: Logits, mass: float) -> _Indices:
    """Indices of the fewest tokens that together have `mass` of the probability, most likely first.

    scores: 0 for the most likely token.
    """
    weights = np.exp(scores)
    wanted = mass * float(weights.sum(dtype=np.float64))
    for depth in _DEPTHS:  # sorting a vocabulary takes longer than all the rest
        head = np.flatnonzero(scores >= -depth)
        if float(weights[head].sum(dtype=np.float64)) >= wanted:
            break
    order = head[np.argsort(-scores[head], kind="stable")]
    cumulative = weights[order].cumsum(dtype=np.float64)
    return order[: int(np.searchsorted(cumulative, wanted)) + 1]
