"""Guesses at the next tokens save steps where a text repeats itself, and never change an answer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest

from localphi.chat import ChatRequest, Chunk, Message, RawPrompt, Sampling
from localphi.engine.drafts import Drafts
from localphi.engine.generator import GeneratorBackend
from localphi.engine.kvcache import KvCache
from localphi.engine.paged import PagedBackend
from localphi.engine.turn import Turn
from localphi.models.manifest import load_manifest
from logits_graph import with_all_logits
from serving import DEMO


def test_a_text_goes_on_as_it_did_after_the_same_words() -> None:
    drafts = Drafts([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3])
    assert drafts.guess(7) == []
    drafts.push([4])
    assert drafts.guess(7) == [5, 6]
    drafts.push([5, 6, 7])
    assert drafts.guess(7) == [8, 9, 1, 2], "guesses become longer while they are right"
    drafts.push([8, 0])
    assert drafts.guess(7) == []


def test_the_last_time_tells_and_not_the_first() -> None:
    drafts = Drafts([1, 2, 3, 4, 5, 1, 2, 3, 4, 6, 1, 2, 3])
    drafts.push([4])
    assert drafts.guess(1) == [6]


def test_after_a_guess_of_which_nothing_was_right_there_is_a_pause() -> None:
    drafts = Drafts([1, 2, 3, 4, 5, 1, 2, 3, 4])
    assert drafts.guess(7) == [5, 1]
    drafts.push([9])
    silent = 0
    while silent < 100:
        drafts.push([7])
        if drafts.guess(7):
            break
        silent += 1
    assert silent == 15


@pytest.fixture(scope="module")
def demo() -> PagedBackend:
    return PagedBackend(DEMO, load_manifest(DEMO), threads=2, max_active=4, pool_blocks=128)


def _answers(backend: PagedBackend | GeneratorBackend, *requests: ChatRequest) -> tuple[list[list[int]], int]:
    """Their ids, and the steps that it took."""
    for number, request in enumerate(requests):
        backend.submit(number, request)
    ids: list[list[int]] = [[] for _ in requests]
    steps = 0
    while backend.busy:
        steps += 1
        for number, event in backend.step():
            if isinstance(event, Chunk):
                ids[number] += event.token_ids
    return ids, steps


def _without(monkeypatch: pytest.MonkeyPatch, *of: Any) -> tuple[list[list[int]], int]:
    with monkeypatch.context() as patch:
        patch.setattr(Turn, "draft", lambda *_: None)
        return _answers(*of)


REPEATED = RawPrompt((500, 501, 502, 503, 504, 505) * 20)
LONG = ChatRequest(REPEATED, max_tokens=120)
PROMPTS: tuple[tuple[Message, ...] | RawPrompt, ...] = (
    REPEATED,
    RawPrompt("one two three four five six seven eight " * 12),
    (Message("user", "What is a KV cache? What is a KV cache? What is a KV cache?"),),
    (Message("user", "What is WebGPU?"),),
)


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
@pytest.mark.parametrize("tokens", [5, 120])
def test_an_answer_is_the_same_in_fewer_steps_or_as_many(
    demo: PagedBackend, prompt: Any, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ChatRequest(prompt, max_tokens=tokens)
    expected, slowly = _without(monkeypatch, demo, request)
    answer, steps = _answers(demo, request)
    assert answer == expected
    assert len(answer[0]) <= tokens
    assert steps <= slowly
    if tokens > 100 and prompt is REPEATED:
        assert steps < slowly / 3


def test_several_answers_are_computed_together_without_guesses(
    demo: PagedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ChatRequest(prompt, max_tokens=60) for prompt in PROMPTS]
    expected, slowly = _without(monkeypatch, demo, *requests)
    answers, steps = _answers(demo, *requests)
    assert answers == expected
    assert steps <= slowly


def test_a_stop_string_among_the_guesses_ends_the_answer(
    demo: PagedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = demo._intake.tokenizer.decode(_answers(demo, LONG)[0][0])
    request = replace(LONG, stop=(whole[-20:],))
    assert _answers(demo, request)[0] == _without(monkeypatch, demo, request)[0]


# ---- the generator backend, on a graph that gives all logits, as those of the hub do


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> GeneratorBackend:
    folder = tmp_path_factory.mktemp("whole") / "demo"
    shutil.copytree(DEMO, folder)
    with_all_logits(folder / "model.onnx")
    return GeneratorBackend(folder, load_manifest(DEMO), 2, max_active=4, kv_budget_bytes=1 << 28)


@pytest.fixture(scope="module")
def pruned() -> GeneratorBackend:
    return GeneratorBackend(DEMO, load_manifest(DEMO), 2, max_active=4, kv_budget_bytes=1 << 28)


SAMPLINGS = {
    "greedy": Sampling(),
    "drawn": Sampling(temperature=0.7, top_p=0.9, seed=3),
    "penalties": Sampling(presence_penalty=0.5, frequency_penalty=0.2),
    "bias": Sampling(logit_bias=((700, 2.0), (12, -3.0))),
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_the_generator_says_the_same_in_fewer_steps_or_as_many(
    whole: GeneratorBackend, pruned: GeneratorBackend, prompt: Any, sampling: Sampling
) -> None:
    request = ChatRequest(prompt, sampling, max_tokens=120)
    expected, slowly = _answers(pruned, request)
    answer, steps = _answers(whole, request)
    assert answer == expected
    assert steps <= slowly
    if prompt is REPEATED and sampling is SAMPLINGS["greedy"]:
        assert steps < slowly / 3
    again, _ = _answers(whole, request)
    assert again == expected, "the kept cache holds what it says"


def test_the_generators_guesses_heed_stop_strings_and_logprobs(
    whole: GeneratorBackend, pruned: GeneratorBackend
) -> None:
    text = whole._intake.tokenizer.decode(_answers(whole, LONG)[0][0])
    for request in (replace(LONG, stop=(text[-20:],)), replace(LONG, top_logprobs=3)):
        assert _answers(whole, request)[0] == _answers(pruned, request)[0]


def test_a_long_answer_ends_where_its_room_does(whole: GeneratorBackend, pruned: GeneratorBackend) -> None:
    request = ChatRequest(RawPrompt((500, 501, 502, 503, 504, 505) * 333))
    assert _answers(whole, request)[0] == _answers(pruned, request)[0]


def test_several_answers_of_the_generator_take_turns(whole: GeneratorBackend) -> None:
    requests = [ChatRequest(prompt, max_tokens=60) for prompt in PROMPTS]
    alone = [_answers(whole, request)[0][0] for request in requests]
    assert _answers(whole, *requests)[0] == alone


def test_a_graph_that_gives_the_last_logits_only_is_not_asked_to_check_guesses(
    pruned: GeneratorBackend,
) -> None:
    _, steps = _answers(pruned, LONG)
    assert steps >= 120


def test_a_provider_that_does_not_show_its_logits_goes_without_guesses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("not on this device")

    monkeypatch.setattr(KvCache, "read_all", refuse)
    backend = GeneratorBackend(DEMO, load_manifest(DEMO), 2, max_active=1, kv_budget_bytes=1 << 28)
    ids, steps = _answers(backend, LONG)
    assert len(ids[0]) == 120
    assert steps >= 120
