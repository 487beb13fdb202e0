"""The generator backend on the demo model, in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localphi.chat import ChatRequest, Chunk, Finished, JsonFormat, Message, Sampling, Tool
from localphi.config import disable_telemetry
from localphi.engine.answer import PREFILL_CHUNK
from localphi.errors import ContextLengthExceeded, UnsupportedParameter
from localphi.models.manifest import load_manifest
from serving import DEMO

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first

QUESTION = ChatRequest((Message("user", "What is localphi?"),), max_tokens=40)


@pytest.fixture(scope="module")
def backend() -> GeneratorBackend:
    return GeneratorBackend(DEMO, load_manifest(DEMO), threads=2, max_active=2, kv_budget_bytes=2**30)


def _run(backend: GeneratorBackend, *requests: ChatRequest) -> list[tuple[str, list[int], Finished]]:
    """Text, ids and end of each request, all submitted before the first step."""
    for number, request in enumerate(requests):
        backend.submit(number, request)
    texts = [""] * len(requests)
    ids: list[list[int]] = [[] for _ in requests]
    ends: dict[int, Finished] = {}
    while backend.busy:
        for number, event in backend.step():
            if isinstance(event, Chunk):
                texts[number] += event.text
                ids[number] += event.token_ids
            elif isinstance(event, Finished):
                ends[number] = event
    return [(texts[number], ids[number], ends[number]) for number in range(len(requests))]


def test_the_demo_model_answers_in_a_sentence_and_ends_its_turn(backend: GeneratorBackend) -> None:
    ((text, _, end),) = _run(backend, replace(QUESTION, max_tokens=200))
    assert "localphi" in text
    assert text.strip().endswith(".")
    assert end.reason == "stop"


def test_a_text_beside_tools_ends_with_the_token_that_ends_turns(backend: GeneratorBackend) -> None:
    """The grammar's own end is another token; a model that may not say <|end|> talks on."""
    tool = Tool("get_weather", "Get the weather.", '{"type": "object", "properties": {}}')
    asked = replace(QUESTION, max_tokens=200, tools=(tool,))
    ((text, ids, end),) = _run(backend, asked)
    ((bare, bare_ids, _),) = _run(backend, replace(asked, guided=False))
    assert end.reason == "stop"
    assert (text, ids) == (bare, bare_ids)


def test_greedy_decoding_is_the_same_alone_and_among_others(backend: GeneratorBackend) -> None:
    others = [
        ChatRequest((Message("user", text),), max_tokens=30)
        for text in ("Hello", "What is WebGPU?", "x" * 500)
    ]
    (alone,) = _run(backend, QUESTION)
    assert _run(backend, QUESTION, *others)[0] == alone


def test_a_seed_makes_sampling_repeatable_and_another_changes_it(backend: GeneratorBackend) -> None:
    def draw(seed: int) -> list[int]:
        return _run(backend, replace(QUESTION, sampling=Sampling(temperature=2.0, seed=seed)))[0][1]

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize("temperature", [0.0, 0.01])
def test_an_answer_that_ignores_its_end_goes_on_to_max_tokens(
    backend: GeneratorBackend, temperature: float
) -> None:
    asked = replace(QUESTION, max_tokens=200, sampling=Sampling(temperature, seed=1))
    ((_, ids, end),) = _run(backend, asked)
    assert (end.reason, len(ids) < 199) == ("stop", True)
    ((_, longer, end),) = _run(backend, replace(asked, ignore_end=True))
    assert (end.reason, len(longer)) == ("length", 200)
    assert longer[: len(ids)] == ids
    assert _run(backend, asked)[0][1] == ids, "the next answer ends as before"


@pytest.mark.parametrize("constrained", [{"answer_format": JsonFormat()}, {"tools": (Tool("f", "", "{}"),)}])
def test_an_answer_that_a_grammar_ends_cannot_ignore_its_end(
    backend: GeneratorBackend, constrained: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedParameter, match="'ignore_eos'"):
        backend.submit(0, replace(QUESTION, ignore_end=True, **constrained))


def test_max_tokens_counts_generated_tokens(backend: GeneratorBackend) -> None:
    ((_, ids, end),) = _run(backend, replace(QUESTION, max_tokens=3))
    assert len(ids) == 3
    assert (end.reason, end.usage.completion_tokens) == ("length", 3)


def test_a_stop_string_ends_the_answer_before_it_is_shown(backend: GeneratorBackend) -> None:
    ((whole, _, _),) = _run(backend, QUESTION)
    stop = whole.split()[2]
    ((text, _, end),) = _run(backend, replace(QUESTION, stop=(stop,)))
    assert text == whole[: whole.index(stop)]
    assert end.reason == "stop"


def test_a_prompt_of_several_prefill_chunks_ends_within_the_context(backend: GeneratorBackend) -> None:
    long = ChatRequest((Message("user", "localphi " * PREFILL_CHUNK * 2),), max_tokens=4)
    admitted = backend.submit(7, long)
    assert admitted.prompt_tokens > 2 * PREFILL_CHUNK
    steps = 0
    while backend.busy:
        events = backend.step()
        steps += 1
    assert isinstance(events[-1][1], Finished)
    assert steps > 2


def test_an_answer_without_max_tokens_stops_at_the_end_of_the_context(backend: GeneratorBackend) -> None:
    context = load_manifest(DEMO).context_length
    words = ChatRequest((Message("user", "7" * (context - 20)),), sampling=Sampling(temperature=2.0, seed=1))
    ((_, _, end),) = _run(backend, words)
    assert end.usage.prompt_tokens + end.usage.completion_tokens <= context


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(backend: GeneratorBackend) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        backend.submit(1, ChatRequest((Message("user", " a" * 5000),)))
    assert caught.value.prompt_tokens > caught.value.context_length == 2048
    assert not backend.busy


def test_a_cancelled_request_is_forgotten(backend: GeneratorBackend) -> None:
    backend.submit(1, QUESTION)
    backend.step()
    backend.cancel(1)
    backend.cancel(99)
    assert not backend.busy


def test_a_model_without_tool_turns_reads_results_as_the_users() -> None:
    manifest = load_manifest(DEMO)
    roles = {role: pair for role, pair in manifest.prompt_format.roles.items() if role != "tool"}
    plain = replace(manifest, prompt_format=replace(manifest.prompt_format, roles=roles))
    backend = GeneratorBackend(DEMO, plain, threads=1, max_active=1, kv_budget_bytes=2**30)
    told = backend.submit(1, ChatRequest((Message("user", "a"), Message("tool", "42"))))
    said = backend.submit(2, ChatRequest((Message("user", "a"), Message("user", "Tool result: 42"))))
    assert told == said


def test_answers_wait_for_their_share_of_the_kv_budget() -> None:
    manifest = load_manifest(DEMO)
    per_token = manifest.variants["server-cpu"].kv_bytes_per_token
    backend = GeneratorBackend(DEMO, manifest, threads=1, max_active=4, kv_budget_bytes=100 * per_token)
    for number in range(2):
        backend.submit(number, replace(QUESTION, max_tokens=60))
    order = []
    while backend.busy:
        order += [number for number, _ in backend.step()]
    assert order == sorted(order), "the second answer began before the first gave its cache back"
    assert set(order) == {0, 1}


def test_the_context_is_never_longer_than_the_kv_budget() -> None:
    manifest = load_manifest(DEMO)
    per_token = manifest.variants["server-cpu"].kv_bytes_per_token
    backend = GeneratorBackend(DEMO, manifest, threads=1, max_active=4, kv_budget_bytes=50 * per_token)
    with pytest.raises(ContextLengthExceeded, match="50"):
        backend.submit(0, ChatRequest((Message("user", " a" * 60),)))


@pytest.mark.parametrize("text", ["a\0b", "half \ud800 pair", "\0"])
def test_text_that_is_no_text_does_not_cut_the_prompt(backend: GeneratorBackend, text: str) -> None:
    with_it = backend.submit(0, ChatRequest((Message("user", text + " c d e"),), max_tokens=1))
    without = backend.submit(1, ChatRequest((Message("user", " c d e"),), max_tokens=1))
    assert with_it.prompt_tokens >= without.prompt_tokens
    while backend.busy:
        backend.step()


def test_a_top_k_beyond_the_vocabulary_is_no_limit(backend: GeneratorBackend) -> None:
    ((_, ids, _),) = _run(
        backend, replace(QUESTION, sampling=Sampling(1.0, top_k=100_000, seed=1), max_tokens=3)
    )
    assert ids
