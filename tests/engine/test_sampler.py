"""The sampler against cases worked out by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localphi.chat import Sampling
from localphi.engine.sampler import Logits, Sampler, log_probabilities

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "sampler.json").read_text("utf-8"))
HOT = Sampling(temperature=1.0, seed=7)


def _logits(*values: float) -> Logits:
    return np.array(values, np.float32)


def _of(*probabilities: float) -> Logits:
    """Logits whose softmax is `probabilities`, shifted, as a model's are."""
    return np.log(np.array(probabilities, np.float32)) + np.float32(3)


def _sampler(prompt: tuple[int, ...] = (), **options: Any) -> Sampler:
    fields: dict[str, Any] = {"temperature": 1.0, "seed": 7, **options}
    return Sampler(Sampling(**fields), prompt)


def _drawn(sampler: Sampler, logits: Logits, times: int = 2000) -> Counter[int]:
    return Counter(sampler.choose(logits) for _ in range(times))


def test_temperature_0_takes_the_largest_and_the_first_of_equals() -> None:
    greedy = Sampler(Sampling(), ())
    assert greedy.choose(_logits(1, 3, 2)) == 1
    assert greedy.choose(_logits(1, 3, 3)) == 1
    assert greedy.choose(_logits(-math.inf, -5, -math.inf)) == 1


def test_draws_follow_the_probabilities() -> None:
    drawn = _drawn(_sampler(), _of(0.5, 0.3, 0.2))
    assert [drawn[token] / 2000 for token in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.04)


def test_temperature_sharpens_and_flattens() -> None:
    """0.8 to 0.2 is 4:1; at temperature 0.5 that is 16:1, at 2 it is 2:1."""
    for temperature, wanted in ((0.5, 16 / 17), (2.0, 2 / 3)):
        drawn = _drawn(_sampler(temperature=temperature), _of(0.8, 0.2))
        assert drawn[0] / 2000 == pytest.approx(wanted, abs=0.04)


def test_a_temperature_close_to_0_is_greedy() -> None:
    for temperature in (1e-6, 1e-40, 1e-300):
        assert _drawn(_sampler(temperature=temperature), _logits(1, 1.0001, -1e38), 50) == {1: 50}


def test_top_k_keeps_the_k_most_likely() -> None:
    logits = _of(0.1, 0.4, 0.2, 0.3)
    assert set(_drawn(_sampler(top_k=2), logits)) == {1, 3}
    assert set(_drawn(_sampler(top_k=1), logits)) == {1}
    assert set(_drawn(_sampler(top_k=0), logits)) == {0, 1, 2, 3}
    assert set(_drawn(_sampler(top_k=9), logits)) == {0, 1, 2, 3}


def test_top_k_keeps_equals_together() -> None:
    assert set(_drawn(_sampler(top_k=2), _of(0.4, 0.2, 0.2, 0.2))) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.39, {1}), (0.41, {1, 3}), (0.69, {1, 3}), (0.71, {1, 2, 3}), (0.999, {0, 1, 2, 3}), (1e-9, {1})],
)
def test_top_p_keeps_the_fewest_tokens_with_that_mass(top_p: float, kept: set[int]) -> None:
    assert set(_drawn(_sampler(top_p=top_p), _of(0.1, 0.4, 0.2, 0.3))) == kept


def test_top_p_takes_the_lower_id_of_equals() -> None:
    assert set(_drawn(_sampler(top_p=0.45), _of(0.25, 0.25, 0.25, 0.25))) == {0, 1}


def test_top_p_counts_the_mass_of_what_top_k_left() -> None:
    """Of 0.4 and 0.3, the first alone has 57 %."""
    logits = _of(0.1, 0.4, 0.2, 0.3)
    assert set(_drawn(_sampler(top_k=2, top_p=0.55), logits)) == {1}
    assert set(_drawn(_sampler(top_k=2, top_p=0.6), logits)) == {1, 3}


@pytest.mark.parametrize("top_p", [0.3, 0.9])
def test_top_p_over_a_large_vocabulary_is_that_of_a_whole_sort(top_p: float) -> None:
    logits = np.random.default_rng(1).standard_normal(20_000).astype(np.float32) * 3
    order = np.argsort(-logits, kind="stable")
    mass = np.exp(logits[order].astype(np.float64)).cumsum()
    kept = set(order[: int(np.searchsorted(mass, top_p * mass[-1])) + 1].tolist())
    drawn = set(_drawn(_sampler(top_p=top_p), logits, 3000))
    assert drawn <= kept
    assert len(drawn) > len(kept) / 20


def test_min_p_is_a_part_of_the_most_likely() -> None:
    logits = _of(0.1, 0.4, 0.2, 0.3)
    assert set(_drawn(_sampler(min_p=0.6), logits)) == {1, 3}
    assert set(_drawn(_sampler(min_p=0.2), logits)) == {0, 1, 2, 3}
    assert set(_drawn(_sampler(min_p=1.0), logits)) == {1}


def test_presence_and_frequency_penalties_count_the_answer_only() -> None:
    sampler = _sampler(prompt=(0,), presence_penalty=1.0, frequency_penalty=0.5)
    logits = _logits(5, 5, 5)
    assert sampler.adjusted(logits).tolist() == [5, 5, 5]
    sampler.push(1)
    sampler.push(2)
    sampler.push(2)
    assert sampler.adjusted(logits).tolist() == [5, 3.5, 3]
    assert logits.tolist() == [5, 5, 5], "the model's own logits were changed"


def test_a_repetition_penalty_counts_prompt_and_answer_and_makes_likely_less_so() -> None:
    sampler = _sampler(prompt=(0, 1, 1), repetition_penalty=2.0)
    logits = _logits(4, -4, 4, -4)
    assert sampler.adjusted(logits).tolist() == [2, -8, 4, -4]
    sampler.push(2)
    assert sampler.adjusted(logits).tolist() == [2, -8, 2, -4]


def test_a_bias_is_added_behind_the_penalties() -> None:
    sampler = _sampler(
        prompt=(0,), repetition_penalty=2.0, presence_penalty=1.0, logit_bias=((0, 10), (2, -100))
    )
    sampler.push(0)
    assert sampler.adjusted(_logits(4, 4, 4)).tolist() == [11, 4, -96]


def test_penalties_and_bias_lead_a_greedy_answer() -> None:
    greedy = Sampler(Sampling(logit_bias=((2, 5.0),)), ())
    assert greedy.choose(greedy.adjusted(_logits(1, 3, 2))) == 2


def test_what_changes_nothing_copies_nothing() -> None:
    logits = _logits(1, 2)
    assert _sampler().adjusted(logits) is logits


def test_a_seed_gives_the_same_draws_and_none_gives_others() -> None:
    logits = np.zeros(1000, np.float32)

    def draw(seed: int | None) -> list[int]:
        sampler = _sampler(seed=seed)
        return [sampler.choose(logits) for _ in range(8)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert draw(None) != draw(None)


@pytest.mark.parametrize("broken", [_logits(1, math.nan, 2), _logits(math.inf, 1), _logits(*[-math.inf] * 3)])
@pytest.mark.parametrize("sampling", [Sampling(), HOT])
def test_logits_that_are_no_numbers_are_an_error(broken: Logits, sampling: Sampling) -> None:
    with pytest.raises(ValueError, match="finite"):
        Sampler(sampling, ()).choose(broken)


def test_log_probabilities_are_those_of_softmax() -> None:
    own, best = log_probabilities(_of(0.1, 0.4, 0.2, 0.3), 2, 3)
    assert own == pytest.approx(math.log(0.2), abs=1e-6)
    assert [token for token, _ in best] == [1, 3, 2]
    assert [math.exp(value) for _, value in best] == pytest.approx([0.4, 0.3, 0.2], abs=1e-6)


def test_log_probabilities_of_equals_are_as_many_as_asked_and_the_lower_ids() -> None:
    _, best = log_probabilities(_logits(0, 1, 1, 1), 0, 2)
    assert [token for token, _ in best] == [1, 2]
    assert log_probabilities(_logits(0, 1), 0, 0)[1] == []
    assert len(log_probabilities(_logits(0, 1), 0, 20)[1]) == 2


def test_a_log_probability_far_out_is_still_right() -> None:
    own, _ = log_probabilities(_logits(1000, -1000), 1, 0)
    assert own == pytest.approx(-2000)


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_the_page_chooses_among_the_same(case: dict[str, Any]) -> None:
    """The page's sampler is held to the same file (static/tests/worker/sampler.test.ts)."""
    sampler = Sampler(Sampling(**case["sampling"]), case["prompt"])
    for token in case["generated"]:
        sampler.push(token)
    adjusted = sampler.adjusted(np.array(case["logits"], np.float32))
    ids, weights = sampler.candidates(adjusted, int(adjusted.argmax()))
    found = list(range(len(adjusted))) if ids is None else [int(index) for index in ids]
    assert sorted(found) == case["ids"]
    shares = dict(zip(found, weights / weights.sum(), strict=True))
    assert [shares[index] for index in case["ids"]] == pytest.approx(case["probabilities"], abs=1e-5)
