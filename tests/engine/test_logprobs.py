"""Log probabilities, penalties and bias through the whole backend, with a grammar and without."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import (
    AnswerLogprob,
    CallArguments,
    ChatRequest,
    Chunk,
    Finished,
    JsonFormat,
    Message,
    Sampling,
    TokenLogprob,
)
from localphi.config import disable_telemetry
from localphi.errors import InvalidRequest, UnsupportedParameter
from localphi.models.manifest import load_manifest
from serving import DEMO
from tiny_phi import PHI_4, tiny_phi

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first

QUESTION = ChatRequest((Message("user", "What is localphi?"),), max_tokens=30)
GUIDED = replace(QUESTION, answer_format=JsonFormat('{"enum": ["apple", "pear", "plum"]}'))


@pytest.fixture(scope="module")
def demo() -> GeneratorBackend:
    return GeneratorBackend(DEMO, load_manifest(DEMO), threads=1, max_active=2, kv_budget_bytes=2**30)


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> GeneratorBackend:
    folder: Path = tmp_path_factory.mktemp("tiny")
    manifest = tiny_phi(folder, PHI_4)
    return GeneratorBackend(folder, manifest, threads=1, max_active=2, kv_budget_bytes=2**30)


def _run(backend: GeneratorBackend, request: ChatRequest) -> tuple[str, list[int], list[AnswerLogprob]]:
    backend.submit(0, request)
    events: list[Any] = []
    while backend.busy:
        events += [event for _, event in backend.step()]
    assert isinstance(events[-1], Finished), events[-1]
    chunks = [event for event in events if isinstance(event, Chunk)]
    text = "".join(event.text for event in events if isinstance(event, Chunk | CallArguments))
    ids = [token for chunk in chunks for token in chunk.token_ids]
    return text, ids, [told for chunk in chunks for told in chunk.logprobs]


def _sampled(sampling: Sampling, request: ChatRequest = QUESTION) -> ChatRequest:
    return replace(request, sampling=sampling)


def test_each_token_of_the_answer_comes_with_its_log_probability(demo: GeneratorBackend) -> None:
    text, ids, told = _run(demo, replace(QUESTION, top_logprobs=3, max_tokens=200))
    assert len(told) == len(ids)
    assert b"".join(token.data for token in told).decode() == text
    for token in told:
        assert len(token.top) == 3
        assert token.top[0] == TokenLogprob(token.data, token.logprob), "greedy takes the most likely"
        assert [other.logprob for other in token.top] == sorted((o.logprob for o in token.top), reverse=True)
        assert sum(math.exp(other.logprob) for other in token.top) <= 1.0001


def test_without_being_asked_nothing_is_told_and_0_tells_the_tokens_own(demo: GeneratorBackend) -> None:
    assert _run(demo, QUESTION)[2] == []
    told = _run(demo, replace(QUESTION, top_logprobs=0))[2]
    assert told
    assert all(token.top == () for token in told)


def test_log_probabilities_are_the_models_own_whatever_is_done_to_its_logits(demo: GeneratorBackend) -> None:
    """The first token's place is the same in all; what it is given to choose from is not."""
    ways = [
        Sampling(),
        Sampling(2.0, top_k=5, seed=1),
        Sampling(frequency_penalty=2.0, logit_bias=((5, -100.0),)),
    ]
    tops = {_run(demo, replace(_sampled(way), top_logprobs=5))[2][0].top for way in ways}
    assert len({tuple(token.data for token in top) for top in tops}) == 1
    first = [[token.logprob for token in top] for top in tops]
    assert all(values == pytest.approx(first[0], abs=1e-4) for values in first)


def test_log_probabilities_do_not_change_the_answer(demo: GeneratorBackend) -> None:
    for request in (QUESTION, _sampled(Sampling(1.0, seed=4)), GUIDED):
        assert _run(demo, request)[1] == _run(demo, replace(request, top_logprobs=2))[1]


def test_a_bias_bans_and_commands(demo: GeneratorBackend) -> None:
    _, ids, _ = _run(demo, QUESTION)
    _, banned, _ = _run(demo, _sampled(Sampling(logit_bias=((ids[0], -100.0),))))
    assert ids[0] not in banned
    _, forced, _ = _run(demo, _sampled(Sampling(logit_bias=((300, 100.0),))))
    assert forced == [300] * 30


def test_a_frequency_penalty_ends_repetition(random_model: GeneratorBackend) -> None:
    bias = ((65, 40.0),)
    _, plain, _ = _run(random_model, _sampled(Sampling(logit_bias=bias)))
    _, varied, _ = _run(
        random_model, _sampled(Sampling(logit_bias=bias, frequency_penalty=2.0, presence_penalty=2.0))
    )
    assert set(plain) == {65}
    assert 2 < varied.count(65) < 30
    assert len(set(varied)) > 1


def test_a_bias_to_a_token_that_the_model_has_not_is_refused(demo: GeneratorBackend) -> None:
    _run(demo, replace(_sampled(Sampling(logit_bias=((3071, 1.0),))), max_tokens=1))
    with pytest.raises(InvalidRequest, match=r"3072.*3071") as caught:
        demo.submit(0, _sampled(Sampling(logit_bias=((3072, 1.0),))))
    assert caught.value.param == "logit_bias"
    assert not demo.busy


def test_min_p_at_a_high_temperature_keeps_to_the_likely(demo: GeneratorBackend) -> None:
    greedy = _run(demo, QUESTION)[1]
    assert _run(demo, _sampled(Sampling(2.0, seed=1)))[1] != greedy
    assert _run(demo, _sampled(Sampling(2.0, seed=1, min_p=1.0)))[1] == greedy


def _jsons(backend: GeneratorBackend, sampling: Sampling, times: Sequence[int] = range(6)) -> set[str]:
    """What a guided answer says; every one of them must fit."""
    said = {json.loads(_run(backend, _sampled(replace(sampling, seed=seed), GUIDED))[0]) for seed in times}
    assert said <= {"apple", "pear", "plum"}
    return said


def test_a_grammar_holds_whatever_bias_and_penalties_say(random_model: GeneratorBackend) -> None:
    """Bytes are tokens here: the second character chooses among the three."""
    p, a = ord("p"), ord("a")
    assert _jsons(random_model, Sampling(logit_bias=((a, 100.0),))) == {"apple"}
    assert _jsons(random_model, Sampling(logit_bias=((a, -100.0),))) <= {"pear", "plum"}
    assert _jsons(random_model, Sampling(1.5, logit_bias=((a, -100.0), (p, 100.0)))) == {"pear", "plum"}
    assert _jsons(random_model, Sampling(1.5, logit_bias=((ord("x"), 100.0),)))
    assert _jsons(random_model, Sampling(1.0, presence_penalty=2.0, repetition_penalty=5.0))


def test_guided_answers_tell_what_the_model_itself_thought(random_model: GeneratorBackend) -> None:
    """A random model would not begin with a quote: its probability is low, not the 1 of what is forced."""
    text, ids, told = _run(random_model, replace(GUIDED, top_logprobs=1))
    assert len(told) == len(ids)
    assert b"".join(token.data for token in told).decode() == text
    assert told[0].data == b'"'
    assert told[0].logprob < told[0].top[0].logprob < 0


def test_guided_sampling_is_repeatable_by_its_seed(random_model: GeneratorBackend) -> None:
    loose = replace(GUIDED, answer_format=JsonFormat('{"type": "string", "maxLength": 8}'))
    sampling = Sampling(1.5, seed=11, presence_penalty=1.0)
    one, other = (_run(random_model, _sampled(sampling, loose))[0] for _ in range(2))
    assert one == other
    assert (
        len({_run(random_model, _sampled(replace(sampling, seed=seed), loose))[0] for seed in range(5)}) > 1
    )


def test_min_p_cannot_be_held_beside_a_grammar_and_says_so(demo: GeneratorBackend) -> None:
    with pytest.raises(UnsupportedParameter, match="response_format") as caught:
        demo.submit(0, _sampled(Sampling(1.0, min_p=0.1), GUIDED))
    assert caught.value.param == "min_p"
    assert _run(demo, _sampled(Sampling(0.0, min_p=0.1), GUIDED))[0], "a greedy answer has no use for it"


def test_a_guided_answer_ends_before_the_second_rope_factor(random_model: GeneratorBackend) -> None:
    """GenAI begins the grammar anew there: `{"a": {"a": 1}`, or worse."""
    endless = JsonFormat('{"type": "array", "items": {"type": "integer"}, "maxItems": 99, "minItems": 99}')
    long = ChatRequest((Message("user", "x" * 3930),), max_tokens=300, answer_format=endless)
    text, ids, _ = _run(random_model, long)
    prompt = len(random_model._intake.prompt_ids(long))
    assert prompt < prompt + len(ids) == 4097
    assert text.count("[") == 1


def test_an_answer_without_a_grammar_goes_on_beyond_it(random_model: GeneratorBackend) -> None:
    _, ids, _ = _run(random_model, ChatRequest((Message("user", "x" * 4075),), max_tokens=60))
    assert len(ids) == 60
