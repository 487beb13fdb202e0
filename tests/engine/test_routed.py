"""Which backend answers what, as the worker loads them; the demo's greedy answers, alone and in company."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import ChatRequest, Chunk, Finished, JsonFormat, Message, Sampling, Tool
from localphi.config import BackendName, disable_telemetry
from localphi.engine.base import Backend, Event, Failed, WorkerSpec
from localphi.engine.worker import load_backend
from localphi.errors import ContextLengthExceeded, EngineFailed
from localphi.models.manifest import load_manifest
from paged_phi import paged_phi
from serving import DEMO
from tiny_phi import PHI_4, tiny_phi

disable_telemetry()

from localphi.engine import routed as routed_module  # noqa: E402
from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first
from localphi.engine.routed import RoutedBackend, faster_alone  # noqa: E402

VECTORS = Path(__file__).parent.parent / "vectors" / "parity.json"
TOOL = Tool("get_time", "Get the time.", '{"type": "object", "properties": {}}')
ASK = ChatRequest((Message("user", "hello"),), max_tokens=8)


def _load(
    folder: Path, backend: BackendName = "auto", budget: int = 2**28, *, roomy: bool = False
) -> Backend:
    spec = WorkerSpec(
        folder.name, folder, False, backend, 1, max_active=8, kv_budget_bytes=budget, roomy=roomy
    )
    return load_backend(spec)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routed")
    paged_phi(folder, PHI_4, bias={"}": 3, "<|end|>": -99, "<|endoftext|>": -99}, longest=512)
    return folder


@pytest.fixture
def backend(folder: Path) -> RoutedBackend:
    backend = _load(folder, "paged")
    assert isinstance(backend, RoutedBackend)
    return backend


def _run(backend: Backend, *requests: ChatRequest) -> list[list[Event]]:
    for number, request in enumerate(requests):
        backend.submit(number, request)
    events: list[list[Event]] = [[] for _ in requests]
    while backend.busy:
        for number, event in backend.step():
            events[number].append(event)
    return events


def _ids(events: list[Event]) -> list[int]:
    assert isinstance(events[-1], Finished), events[-1]
    return [token for event in events if isinstance(event, Chunk) for token in event.token_ids]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stop": ("x",)},
        {"sampling": Sampling(temperature=1.0, top_p=0.9, top_k=7, seed=1)},
        {"sampling": Sampling(repetition_penalty=1.2)},
        {"sampling": Sampling(min_p=0.5)},
        {"tools": (TOOL,)},
        {"answer_format": JsonFormat()},
        {"max_tokens": 400},
        {"max_tokens": None},
    ],
    ids=str,
)
def test_the_engine_answers_what_it_can(backend: RoutedBackend, options: dict[str, Any]) -> None:
    backend.submit(1, replace(ASK, **options))
    assert backend._generator is None, "weights were loaded twice"
    assert backend._paged.busy
    backend.cancel(1)
    assert not backend.busy


@pytest.mark.parametrize(
    "options",
    [
        {"top_logprobs": 0},
        {"sampling": Sampling(logit_bias=((5, 1.0),))},
        {"sampling": Sampling(presence_penalty=0.5)},
        {"sampling": Sampling(frequency_penalty=0.5)},
        {"sampling": Sampling(temperature=1.0, min_p=0.1)},
        {"max_tokens": 600},
        {"messages": (Message("user", "x" * 600),)},
    ],
    ids=lambda options: str(options)[:40],
)
def test_the_generator_answers_what_wants_logits_or_a_longer_context(
    backend: RoutedBackend, options: dict[str, Any]
) -> None:
    request = replace(ASK, **options)
    backend.submit(1, request)
    assert not backend._paged.busy
    backend.cancel(1)
    assert not backend.busy
    (events,) = _run(backend, request)
    assert _ids(events)


def test_both_work_side_by_side_and_are_counted_together(backend: RoutedBackend) -> None:
    requests = [ASK, replace(ASK, top_logprobs=0), replace(ASK, max_tokens=20)]
    alone = [_ids(_run(backend, request)[0]) for request in requests]
    for number, request in enumerate(requests):
        backend.submit(number, request)
    ids: list[list[int]] = [[] for _ in requests]
    most = 0
    while backend.busy:
        for number, event in backend.step():
            if isinstance(event, Chunk):
                ids[number] += event.token_ids
        most = max(most, backend.active)
    assert ids == alone
    assert most == 3
    assert backend.active == 0


def test_a_greedy_answer_alone_is_the_generators_and_has_the_same_tokens(folder: Path) -> None:
    auto, paged, tight = _load(folder, roomy=True), _load(folder, "paged"), _load(folder)
    assert isinstance(auto, RoutedBackend)
    assert isinstance(paged, RoutedBackend)
    wanted = _run(paged, ASK, replace(ASK, max_tokens=3))
    assert paged._generator is None
    assert isinstance(tight, RoutedBackend)
    assert [_ids(events) for events in _run(tight, ASK)] == [_ids(wanted[0])]
    assert tight._generator is None, "there is no memory for the weights twice"
    auto.submit(0, replace(ASK, sampling=Sampling(temperature=1.0, seed=1)))
    auto.submit(1, replace(ASK, answer_format=JsonFormat()))
    assert auto._generator
    assert not auto._generator.busy, "drawn and guided answers are the engine's, alone too"
    auto.cancel(0)
    auto.cancel(1)
    got = _run(auto, ASK, replace(ASK, max_tokens=3))
    assert [_ids(events) for events in got] == [_ids(events) for events in wanted]


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("resume", [0, 3])
def test_an_answer_that_is_no_longer_alone_changes_over_and_loses_nothing(
    folder: Path, steps: int, resume: int
) -> None:
    paged, auto = _load(folder, "paged"), _load(folder, roomy=True)
    assert isinstance(auto, RoutedBackend)
    first, second = replace(ASK, max_tokens=30), replace(ASK, max_tokens=12)
    wanted = [_ids(events) for events in _run(paged, first, second)]
    auto.submit(0, first, wanted[0][:resume])
    heard: list[list[Event]] = [[], []]
    for _ in range(steps):
        for number, event in auto.step():
            heard[number].append(event)
    assert auto._generator
    assert auto._generator.busy
    auto.submit(1, second)
    assert not auto._generator.busy
    assert auto._paged.busy
    while auto.busy:
        for number, event in auto.step():
            heard[number].append(event)
    assert [_ids(events) for events in heard] == wanted
    end = heard[0][-1]
    assert isinstance(end, Finished)
    assert end.usage.completion_tokens == 30


def test_a_long_answer_stays_where_it_is_when_others_come(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routed_module, "MOST_STEPS", 0)
    auto = _load(folder, roomy=True)
    assert isinstance(auto, RoutedBackend)
    auto.submit(0, ASK)
    auto.submit(1, ASK)
    assert auto._generator
    assert (auto._generator.busy, auto._paged.busy) == (True, True)
    auto.cancel(0)
    auto.submit(2, ASK)
    assert not auto._generator.busy, "something else is at work"


def test_who_is_faster_alone_hangs_on_how_many_heads_share_their_keys() -> None:
    def settings(heads: int, kv_heads: int) -> dict[str, Any]:
        return {"decoder": {"num_attention_heads": heads, "num_key_value_heads": kv_heads}}

    assert faster_alone(settings(32, 32)), "Phi-3-mini"
    assert faster_alone(settings(4, 2)), "the demo"
    assert not faster_alone(settings(24, 8)), "Phi-4-mini"


def test_both_share_the_memory_that_caches_may_take(folder: Path) -> None:
    per_token = load_manifest(folder).variants["server-cpu"].kv_bytes_per_token
    backend = _load(folder, budget=1000 * per_token)
    assert isinstance(backend, RoutedBackend)
    assert backend._paged.context_length == 500 // 16 * 16
    with pytest.raises(ContextLengthExceeded) as caught:
        backend.submit(1, replace(ASK, messages=(Message("user", "x" * 600),)))
    assert caught.value.context_length == 1000 - 500 // 16 * 16


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(temperature=1.0, top_p=0.9, seed=2), Sampling(repetition_penalty=1.2)],
    ids=str,
)
def test_an_answer_that_outgrows_the_paged_graph_goes_on(tmp_path: Path, sampling: Sampling) -> None:
    manifest = paged_phi(tmp_path, PHI_4, bias={"<|end|>": -99, "<|endoftext|>": -99}, longest=64)
    budget = 700 * manifest.variants["server-cpu"].kv_bytes_per_token
    backend, generator = _load(tmp_path, "paged", budget), _load(tmp_path, "generator", budget)
    assert isinstance(backend, RoutedBackend)
    request = ChatRequest((Message("user", "how long?"),), sampling=sampling)
    (events,) = _run(backend, request)
    ids, end = _ids(events), events[-1]
    assert isinstance(end, Finished)
    room = 700 - 350 // 16 * 16 - end.usage.prompt_tokens
    assert (end.reason, len(ids), end.usage.completion_tokens) == ("length", room, room)
    if sampling.temperature == 0:
        assert ids == _ids(_run(generator, request)[0])[:room]
    for count in (5, 100):  # before and after it went over
        backend.submit(0, request, ids[:count])
        again: list[Event] = []
        while backend.busy:
            again += [event for _, event in backend.step()]
        assert _ids(again) == ids
    (bounded,) = _run(backend, replace(request, max_tokens=40))
    assert _ids(bounded) == ids[:40]


def test_a_generator_that_cannot_be_loaded_fails_only_who_needs_it(tmp_path: Path) -> None:
    paged_phi(tmp_path, PHI_4, bias={"<|end|>": -99, "<|endoftext|>": -99}, longest=64)
    backend = _load(tmp_path, "paged")
    assert isinstance(backend, RoutedBackend)

    def fail() -> GeneratorBackend:
        raise RuntimeError("bad allocation")

    backend._make_generator = fail
    with pytest.raises(EngineFailed, match="bad allocation"):
        backend.submit(1, replace(ASK, top_logprobs=0))
    outgrown, other = _run(backend, replace(ASK, max_tokens=None), replace(ASK, max_tokens=40))
    assert isinstance(outgrown[-1], Failed)
    assert len([event for event in outgrown if isinstance(event, Chunk)]) > 40
    assert len(_ids(other)) == 40


def test_a_model_without_a_paged_graph_is_the_generators(tmp_path: Path) -> None:
    tiny_phi(tmp_path, PHI_4)
    assert isinstance(_load(tmp_path), GeneratorBackend)
    with pytest.raises(EngineFailed, match="no paged graph"):
        _load(tmp_path, "paged")


def test_the_generator_serves_everything_when_it_is_asked_for(folder: Path) -> None:
    assert isinstance(_load(folder, "generator"), GeneratorBackend)
    assert isinstance(_load(folder, "paged"), RoutedBackend)
    with pytest.raises(EngineFailed, match="memory"):
        _load(folder, "paged", budget=100)


def test_a_question_about_texts_needs_no_weights(backend: RoutedBackend) -> None:
    from localphi.engine.base import Encode

    assert backend.reply(Encode("abc"))
    assert backend._generator is None


def _parity_cases() -> list[tuple[ChatRequest, list[int]]]:
    document = json.loads(VECTORS.read_text(encoding="utf-8"))
    cases = []
    for case in document["cases"]:
        messages = tuple(Message(turn["role"], turn["content"]) for turn in case["messages"])
        cases.append((ChatRequest(messages, max_tokens=document["max_tokens"]), case["ids"]))
    return cases


@pytest.fixture(scope="module")
def demo() -> RoutedBackend:
    assert load_manifest(DEMO).variants["server-cpu"].paged, "the demo has no paged graph"
    backend = _load(DEMO, "paged")
    assert isinstance(backend, RoutedBackend)
    return backend


def test_the_demos_greedy_ids_are_the_vectors_alone_and_among_seven(demo: RoutedBackend) -> None:
    cases = _parity_cases()
    assert len(cases) >= 8
    for request, ids in cases:
        assert _ids(_run(demo, request)[0]) == ids
    together = _run(demo, *(request for request, _ in cases))
    assert [_ids(events) for events in together] == [ids for _, ids in cases]


def test_the_demos_late_joins_and_cancels_change_no_id(demo: RoutedBackend) -> None:
    cases = _parity_cases()
    ids: list[list[int]] = [[] for _ in cases]
    waiting = list(enumerate(cases))
    steps = 0
    while waiting or demo.busy:
        if waiting and steps % 4 == 0:
            number, (request, _) = waiting.pop(0)
            demo.submit(number, request)
        if steps == 14:
            demo.cancel(1)
        steps += 1
        for number, event in demo.step():
            if isinstance(event, Chunk):
                ids[number] += event.token_ids
    for number, (_, wanted) in enumerate(cases):
        if number != 1:
            assert ids[number] == wanted
    assert 0 < len(ids[1]) < len(cases[1][1])


@pytest.mark.parametrize(
    "options",
    [
        {"answer_format": JsonFormat('{"type": "object", "properties": {"n": {"type": "integer"}}}')},
        {"tools": (TOOL,), "tool_choice": "required"},
        {"tools": (TOOL,)},
    ],
    ids=["json", "required", "auto"],
)
def test_the_demos_guided_answers_are_those_of_the_generator(
    demo: RoutedBackend, options: dict[str, Any]
) -> None:
    generator = _load(DEMO, "generator")
    request = ChatRequest((Message("user", "What time is it? I have 7."),), max_tokens=60, **options)
    (left,), (right,) = _run(demo, request), _run(generator, request)
    assert _ids(left) == _ids(right)
    assert left[-1] == right[-1]
