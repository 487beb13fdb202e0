"""The paged backend against the generator backend, on random weights that both have a graph of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import (
    CallArguments,
    CallStarted,
    ChatRequest,
    Chunk,
    Finished,
    JsonFormat,
    Message,
    RawPrompt,
    Sampling,
    Tool,
)
from localphi.config import disable_telemetry
from localphi.engine.base import Event, Failed
from localphi.errors import ContextLengthExceeded, EngineFailed, InvalidRequest
from localphi.models.manifest import Manifest
from paged_phi import BLOCK, paged_phi
from tiny_phi import PHI_4

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first
from localphi.engine.kvcache import Setup  # noqa: E402
from localphi.engine.paged import PagedBackend, pool_blocks, step_tokens  # noqa: E402

Backend = PagedBackend | GeneratorBackend
MakePaged = Callable[..., PagedBackend]
TOOL = Tool(
    "get_weather", "Get the weather.", '{"type": "object", "properties": {"city": {"type": "string"}}}'
)


@dataclass(frozen=True)
class Model:
    folder: Path
    manifest: Manifest

    def paged(self, blocks: int = 512, max_active: int = 8) -> PagedBackend:
        return PagedBackend(self.folder, self.manifest, 1, max_active, blocks)


@dataclass(frozen=True)
class Answered:
    text: str
    ids: tuple[int, ...]
    calls: str
    end: Finished | Failed

    @property
    def cached(self) -> int | None:
        assert isinstance(self.end, Finished)
        return self.end.usage.cached_tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Likes to close what is open, or its JSON would have no end."""
    folder = tmp_path_factory.mktemp("paged")
    return Model(folder, paged_phi(folder, PHI_4, bias={'"': 4, "}": 3, "]": 3}))


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Never ends an answer by itself."""
    folder = tmp_path_factory.mktemp("endless")
    never = {"<|end|>": -99.0, "<|endoftext|>": -99.0}
    return Model(folder, paged_phi(folder, PHI_4, bias=never))


@pytest.fixture(scope="module")
def paged(model: Model) -> PagedBackend:
    return model.paged()


@pytest.fixture(scope="module")
def generator(model: Model) -> GeneratorBackend:
    return GeneratorBackend(model.folder, model.manifest, threads=1, max_active=2, kv_budget_bytes=2**28)


def _run(backend: Backend, *requests: ChatRequest) -> list[Answered]:
    """All are submitted before the first step."""
    for number, request in enumerate(requests):
        backend.submit(number, request)
    events = _events(backend, len(requests))
    return [_answered(heard) for heard in events]


def _events(backend: Backend, count: int, steps: int = 100_000) -> list[list[Event]]:
    events: list[list[Event]] = [[] for _ in range(count)]
    while backend.busy and steps:
        steps -= 1
        for number, event in backend.step():
            events[number].append(event)
    assert steps, "no end"
    return events


def _answered(events: Sequence[Event]) -> Answered:
    end = events[-1]
    assert isinstance(end, Finished | Failed), end
    chunks = [event for event in events if isinstance(event, Chunk)]
    calls = ""
    for event in events:
        if isinstance(event, CallStarted):
            calls += f"{event.index}:{event.name}"
        elif isinstance(event, CallArguments):
            calls += event.text
    ids = tuple(token for chunk in chunks for token in chunk.token_ids)
    return Answered("".join(chunk.text for chunk in chunks), ids, calls, end)


def _ask(text: str, **options: Any) -> ChatRequest:
    return replace(ChatRequest((Message("user", text),), max_tokens=24), **options)


def _many(text: str = "Tell me more. ") -> list[ChatRequest]:
    return [_ask(text * times) for times in (1, 9, 2, 40, 5, 3, 17)]


@pytest.mark.parametrize(
    "request_",
    [
        _ask("hello"),
        _ask("a long prompt of several steps " * 30),
        _ask("x", max_tokens=1),
        _ask("y" * BLOCK, max_tokens=3 * BLOCK),
        _ask("penalty", sampling=Sampling(repetition_penalty=1.4), max_tokens=40),
        _ask("object", answer_format=JsonFormat(), max_tokens=300),
        _ask("weather", tools=(TOOL,), tool_choice="required", max_tokens=300),
        _ask("weather", tools=(TOOL,), max_tokens=60),
        _ask("free", tools=(TOOL,), guided=False),
        replace(_ask(""), messages=RawPrompt("once upon a time")),
        replace(_ask(""), messages=RawPrompt((65, 66, 67))),
    ],
    ids=lambda request: str(request.messages)[:40],
)
def test_a_greedy_answer_is_that_of_the_generator_backend(
    paged: PagedBackend, generator: GeneratorBackend, request_: ChatRequest
) -> None:
    (wanted,) = _run(generator, request_)
    (got,) = _run(paged, request_)
    assert got == wanted
    assert got.ids


@pytest.mark.parametrize("cut", [2, 7, 11])
def test_a_stop_string_ends_it_alike(paged: PagedBackend, generator: GeneratorBackend, cut: int) -> None:
    (whole,) = _run(generator, _ask("Tell me a story, please."))
    request = _ask("Tell me a story, please.", stop=(whole.text[cut : cut + 2],))
    assert _run(paged, request) == _run(generator, request)


def test_answers_among_seven_others_are_those_alone(paged: PagedBackend) -> None:
    requests = [
        *_many(),
        _ask("drawn", sampling=Sampling(temperature=1.2, top_p=0.9, seed=3), max_tokens=40),
        _ask("object", answer_format=JsonFormat(), max_tokens=300),
        _ask("weather", tools=(TOOL,), tool_choice="required", max_tokens=300),
    ]
    alone = [_run(paged, request)[0] for request in requests]
    together = _run(paged, *requests)
    assert together == alone
    assert len({answer.ids for answer in alone}) > 5


def test_late_joins_and_a_cancel_in_the_middle_disturb_nobody(paged: PagedBackend) -> None:
    requests = _many("Is it so? ")
    alone = [_run(paged, request)[0] for request in requests]
    events: list[list[Event]] = [[] for _ in requests]
    waiting = list(enumerate(requests))
    steps = 0
    while waiting or paged.busy:
        if waiting and steps % 3 == 0:
            paged.submit(*waiting.pop(0))
        if steps == 11:
            paged.cancel(2)
        steps += 1
        for number, event in paged.step():
            events[number].append(event)
    assert not any(isinstance(event, Finished) for event in events[2])
    for number, answer in enumerate(alone):
        if number != 2:
            assert _answered(events[number]) == answer


def test_a_seed_makes_sampling_repeatable_and_no_seed_does_not(paged: PagedBackend) -> None:
    seeded = _ask("draw", sampling=Sampling(temperature=1.5, seed=7))
    assert _run(paged, seeded) == _run(paged, seeded)
    draws = [_run(paged, _ask("draw", sampling=Sampling(temperature=1.5)))[0].ids for _ in range(4)]
    assert len(set(draws)) > 1


def test_top_p_keeps_the_fewest_tokens_that_have_its_mass(
    paged: PagedBackend, generator: GeneratorBackend
) -> None:
    """GenAI's own top_p without a top_k keeps many more, in the engine and in the generator."""
    ask = replace(_ask(""), messages=RawPrompt("hello and goodbye"), max_tokens=1)
    generator.submit(0, replace(ask, top_logprobs=300))
    ((first, *_),) = _events(generator, 1)
    assert isinstance(first, Chunk)
    shares = [math.exp(token.logprob / 4.0) for token in first.logprobs[0].top]
    wanted = next(count for count in range(300) if sum(shares[:count]) >= 0.3 * sum(shares))
    assert 2 < wanted < 20
    drawn, guided = set(), set()
    for seed in range(80):
        sampling = Sampling(4.0, top_p=0.3, seed=seed)
        drawn.add(_run(paged, replace(ask, sampling=sampling))[0].ids)
        native = generator._make_generator(Setup("start: /(.|\\n)+/", sampling), 64)
        native.append_tokens(generator._intake.prompt_ids(ask))
        native.generate_next_token()
        guided.add(int(native.get_next_tokens()[0]))
    assert 1 < len(drawn) <= wanted
    assert 1 < len(guided) <= wanted


@pytest.mark.parametrize(
    "sampling", [Sampling(1e-30), Sampling(2.0, top_k=1), Sampling(1.0, top_p=1e-9)], ids=str
)
def test_the_coldest_sampling_is_greedy(paged: PagedBackend, sampling: Sampling) -> None:
    assert _run(paged, _ask("cold", sampling=sampling))[0].ids == _run(paged, _ask("cold"))[0].ids


def test_a_prompt_that_begins_like_another_is_not_computed_again(model: Model) -> None:
    backend = model.paged()
    first, again = _ask("z" * 200), _ask("z" * 200 + " and more")
    assert _run(backend, first)[0].cached == 0
    assert _run(backend, again)[0].cached == 200 // BLOCK * BLOCK
    (whole,) = _run(backend, _ask("stop " * 20))
    stopped = _ask("stop " * 20, stop=(whole.text[4:6],))
    assert _run(backend, stopped)[0].cached, "an answer that only we end tells it, too"


def test_eight_long_answers_finish_in_a_pool_for_four(endless: Model) -> None:
    """GenAI's engine alone takes in all eight, and then none can go on."""
    backend = endless.paged(blocks=4096 // BLOCK)
    asked = [
        replace(_ask(""), messages=RawPrompt(tuple((97 + n + i) % 256 for i in range(700))), max_tokens=300)
        for n in range(8)
    ]
    most = 0
    for number, request in enumerate(asked):
        backend.submit(number, request)
    ends = 0
    while backend.busy:
        most = max(most, backend.active)
        for _, event in backend.step():
            assert not isinstance(event, Failed), event
            if isinstance(event, Finished):
                assert event.usage.completion_tokens == 300
                ends += 1
    assert (ends, most) == (8, 4)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=1.0, seed=4), Sampling(repetition_penalty=1.1)], ids=str
)
def test_answers_that_know_no_end_give_way_and_lose_nothing(endless: Model, sampling: Sampling) -> None:
    blocks = 800 // BLOCK
    asked = [_ask(f"number {n} " * 10, max_tokens=None, sampling=sampling) for n in range(4)]
    alone = [_run(endless.paged(blocks), request)[0] for request in asked]
    backend = endless.paged(blocks)
    interrupted: list[int] = []
    interrupt = backend._interrupt

    def note(turn: Any) -> None:
        interrupted.append(turn.request_id)
        interrupt(turn)

    backend._interrupt = note  # type: ignore[method-assign]
    together = _run(backend, *asked)
    assert interrupted, "nobody had to give way"
    assert 0 not in interrupted, "the oldest gave way"
    assert together == alone
    assert {answer.end.reason for answer in alone if isinstance(answer.end, Finished)} == {"length"}


def test_a_guided_answer_that_gave_way_is_whole(model: Model) -> None:
    backend = model.paged()
    held = _ask("object", answer_format=JsonFormat('{"enum": ["a long enough word to be cut in two"]}'))
    (whole,) = _run(backend, replace(held, max_tokens=60))
    backend.submit(0, replace(held, max_tokens=60))
    events: list[Event] = []
    for _ in range(8):
        events += [event for _, event in backend.step()]
    backend._interrupt(backend._active[0])
    assert backend.active == 0
    events += _events(backend, 1)[0]
    assert _answered(events) == whole
    assert json.loads(whole.text)


def test_an_engine_that_is_stuck_loses_its_youngest_until_it_moves(endless: Model) -> None:
    """The watchdog alone, without the promises that keep the engine from getting stuck."""
    backend = endless.paged(blocks=1024 // BLOCK)
    asked = [_ask(chr(97 + n) * 200, max_tokens=150) for n in range(4)]
    alone = [_run(endless.paged(), request)[0].ids for request in asked]
    backend._pool.promise = lambda owner, tokens: True  # type: ignore[method-assign]
    backend._pool.promised = lambda owner: 10**9  # type: ignore[method-assign]
    runs = 0
    run = backend._engine.run

    class Counting:
        """The engine, with its runs counted."""

        create_request = backend._engine.create_request

        def run(self, buffer: Any) -> Any:
            nonlocal runs
            runs += 1
            return run(buffer)

    backend._engine = Counting()
    together = _run(backend, *asked)
    assert [answer.ids for answer in together] == alone
    assert runs < 2000, "it ran in circles"


def test_a_broken_engine_is_made_anew_and_answers_go_on(model: Model) -> None:
    backend = model.paged()
    requests = [_ask("one"), _ask("two two"), _ask("drawn", sampling=Sampling(temperature=1.0, seed=1))]
    wanted = _run(backend, *requests)
    for number, request in enumerate(requests):
        backend.submit(number, request)
    events: list[list[Event]] = [[] for _ in requests]
    for _ in range(4):
        for number, event in backend.step():
            events[number].append(event)
    _break(backend)
    backend.step()
    for number, more in enumerate(_events(backend, len(requests))):
        events[number] += more
    assert [_answered(heard) for heard in events] == wanted


def test_an_answer_that_breaks_the_engine_twice_is_given_up(model: Model) -> None:
    backend = model.paged()
    backend.submit(0, _ask("one"))
    for _ in range(2):
        _break(backend)
        events = backend.step()
    ((_, event),) = events
    assert isinstance(event, Failed)
    assert "it broke" in event.error.message
    assert not backend.busy
    assert _run(backend, _ask("one"))[0].ids


@pytest.mark.parametrize("kind", ["paged", "generator"])
@pytest.mark.parametrize(
    "request_",
    [
        _ask("again"),
        _ask("again", stop=("q",)),
        _ask("drawn", sampling=Sampling(temperature=1.0, seed=9)),
        _ask("penalty", sampling=Sampling(repetition_penalty=1.4)),
        _ask("object", answer_format=JsonFormat('{"enum": ["one of these", "one of those"]}'), max_tokens=60),
        _ask("weather", tools=(TOOL,), tool_choice="required", max_tokens=300),
    ],
    ids=lambda request: request.messages[0].content,
)
def test_an_answer_from_another_worker_is_told_again_and_goes_on(
    request: pytest.FixtureRequest, request_: ChatRequest, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    (whole,) = _run(backend, request_)
    for count in (1, len(whole.ids) // 2, len(whole.ids)):
        backend.submit(0, request_, whole.ids[:count])
        assert _answered(_events(backend, 1)[0]) == whole


def test_what_was_drawn_without_a_seed_is_kept(paged: PagedBackend) -> None:
    request = _ask("draw", sampling=Sampling(temperature=1.5))
    (drawn,) = _run(paged, request)
    paged.submit(0, request, drawn.ids[:9])
    again = _answered(_events(paged, 1)[0])
    assert again.ids[:9] == drawn.ids[:9]
    assert isinstance(again.end, Finished)


def _break(backend: PagedBackend) -> None:
    class Broken:
        create_request = backend._engine.create_request

        def run(self, buffer: Any) -> Any:
            raise RuntimeError("it broke")

    backend._engine = Broken()


def test_a_failure_in_one_answer_leaves_the_others_alone(paged: PagedBackend) -> None:
    (alone,) = _run(paged, _ask("well"))
    paged.submit(0, _ask("well"))
    paged.submit(1, _ask("ill"))
    events: list[list[Event]] = [[], []]
    paged._waiting[1]._transcript.push = None  # type: ignore[assignment,method-assign]
    while paged.busy:
        for number, event in paged.step():
            events[number].append(event)
    assert _answered(events[0]) == alone
    failed = events[1][-1]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, EngineFailed)


def test_a_cancelled_request_is_forgotten_and_its_blocks_come_back(paged: PagedBackend) -> None:
    free = paged._pool._free
    paged.submit(1, _ask("w" * 400, max_tokens=100))
    paged.submit(2, _ask("v", max_tokens=None))
    paged.step()
    assert paged._pool._free < free
    for number in (1, 2, 99):
        paged.cancel(number)
    assert not paged.busy
    assert paged._pool._free == free


def test_a_long_prompt_keeps_others_waiting_for_one_step_only(endless: Model) -> None:
    backend = endless.paged()
    backend.submit(0, _ask("short", max_tokens=200))
    for _ in range(3):
        backend.step()
    backend.submit(1, _ask("q" * step_tokens(0) * 4, max_tokens=1))
    steps = [[number for number, _ in backend.step()] for _ in range(6)]
    assert [numbers[:1] for numbers in steps] == [[0]] * 6, "the first answer paused"
    assert 1 not in steps[2], "the long prompt was read in one step"
    backend.cancel(0)
    backend.cancel(1)


def test_a_long_prompt_lets_short_ones_pass_and_is_read_once(endless: Model) -> None:
    backend = endless.paged()
    long = _ask("r" * step_tokens(0) * 10, max_tokens=3)
    (alone,) = _run(endless.paged(), long)
    backend.submit(0, long)
    for _ in range(3):
        assert backend.step() == []
    events: list[list[Event]] = [[], [], []]
    backend.submit(1, _ask("short", max_tokens=2))
    backend.submit(2, _ask("shorter"[:5], max_tokens=2))
    order, steps = [], 0
    while backend.busy:
        steps += 1
        for number, event in backend.step():
            events[number].append(event)
            order.append(number)
    assert order.index(1) < order.index(0)
    assert order.index(2) < order.index(0)
    assert steps < 12, "what was read before is read again"
    assert _answered(events[0]) == alone
    assert _answered(events[0]).cached == 0


def test_a_long_prompt_is_passed_only_so_often(endless: Model) -> None:
    backend = endless.paged()
    backend.submit(0, _ask("s" * step_tokens(0) * 10, max_tokens=1))
    backend.step()
    done: list[int] = []
    for number in range(1, 40):
        backend.submit(number, _ask(f"n {number}", max_tokens=1))
        done += [n for n, event in backend.step() if isinstance(event, Finished)]
    while backend.busy:
        done += [n for n, event in backend.step() if isinstance(event, Finished)]
    assert sorted(done) == list(range(40))
    assert done.index(0) < 30


def test_what_does_not_fit_the_context_is_refused_with_both_numbers(model: Model) -> None:
    backend = model.paged(blocks=4)
    with pytest.raises(ContextLengthExceeded) as caught:
        backend.submit(1, _ask("p" * 100))
    assert caught.value.prompt_tokens > caught.value.context_length == 4 * BLOCK
    assert not backend.busy


def test_a_schema_that_cannot_be_held_is_refused_by_name(paged: PagedBackend) -> None:
    bad = JsonFormat('{"type": "string", "pattern": "(?<=a)b"}')
    with pytest.raises(InvalidRequest, match="response_format"):
        paged.submit(1, _ask("x", answer_format=bad))
    assert not paged.busy
    assert _run(paged, _ask("x"))[0].ids


def test_steps_are_smaller_where_weights_are_larger() -> None:
    sizes = [step_tokens(weights) for weights in (7_000_000, 500_000_000, 2_400_000_000)]
    assert sizes == sorted(set(sizes), reverse=True)


def test_a_pool_is_as_small_as_its_answers_and_its_memory_allow(model: Model) -> None:
    per_block = BLOCK * model.manifest.variants["server-cpu"].kv_bytes_per_token
    assert pool_blocks(model.manifest, 8, 10**12) == 8 * 4096 // BLOCK
    assert pool_blocks(model.manifest, 8, 100 * per_block + 1) == 100
    assert pool_blocks(model.manifest, 8, per_block - 1) == 0
