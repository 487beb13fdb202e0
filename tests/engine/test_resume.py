"""An answer cut anywhere goes on in another worker as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import (
    AnswerLogprob,
    CallArguments,
    CallStarted,
    ChatRequest,
    Chunk,
    Finished,
    Item,
    JsonFormat,
    Message,
    Sampling,
    Tool,
)
from localphi.config import disable_telemetry
from localphi.engine.base import Backend, Failed
from localphi.engine.echo import EchoBackend
from localphi.engine.told import Told
from localphi.errors import EngineFailed
from localphi.models.manifest import load_manifest
from serving import DEMO
from tiny_phi import PHI_3, PHI_4, Family, tiny_phi

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first

QUESTION = ChatRequest((Message("user", "What is WebGPU?"),), max_tokens=30)
WILD = Sampling(temperature=1.5, seed=11)
PARAMETERS = """{"type": "object", "properties": {"place": {"type": "string", "maxLength": 12},
    "days": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}}, "required": ["place", "days"]}"""
TOOL = Tool("look", "Look at the sky.", PARAMETERS)
CALLS = ChatRequest((Message("user", "hi"),), WILD, max_tokens=400, tools=(TOOL,), tool_choice="required")


@dataclass(frozen=True)
class _Answer:
    """What a client has in the end."""

    text: str
    ids: tuple[int, ...]
    calls: tuple[tuple[str, str], ...]
    end: Finished


def _answer(items: Iterable[Item]) -> _Answer:
    text = ""
    ids: list[int] = []
    calls: list[tuple[str, str]] = []
    for item in items:
        match item:
            case Chunk():
                text += item.text
                ids += item.token_ids
            case CallStarted(index, _, name):
                assert index == len(calls), "a call was told twice"
                calls.append((name, ""))
            case CallArguments(index, piece):
                calls[index] = (calls[index][0], calls[index][1] + piece)
            case Finished():
                return _Answer(text, tuple(ids), tuple(calls), item)
    raise AssertionError("the answer has no end")


def _items(backend: Backend, request: ChatRequest, resume: Sequence[int] = ()) -> list[Any]:
    backend.submit(0, request, resume)
    items = []
    while backend.busy:
        items += [event for _, event in backend.step()]
    return items


def _cut(backend: Backend, request: ChatRequest, items: Sequence[Item], at: int) -> _Answer:
    """The answer as it is told when the first worker ends after so many of its items."""
    told = Told()
    passed_on = [told.new_of(item) for item in items[:at]]
    told.begin_again()
    passed_on += [told.new_of(item) for item in _items(backend, request, told.ids)]
    return _answer(item for item in passed_on if item is not None)


@pytest.fixture(scope="module")
def demo() -> GeneratorBackend:
    return GeneratorBackend(DEMO, load_manifest(DEMO), threads=2, max_active=2, kv_budget_bytes=2**30)


@pytest.fixture(scope="module", params=[PHI_3, PHI_4], ids=["phi-3", "phi-4"])
def random_phi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GeneratorBackend:
    return _random_phi(tmp_path_factory.mktemp("phi"), request.param)


def _random_phi(folder: Path, family: Family) -> GeneratorBackend:
    manifest = tiny_phi(folder, family, bias={'"': 4, "}": 3, "]": 3})
    return GeneratorBackend(folder, manifest, threads=1, max_active=2, kv_budget_bytes=2**30)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampling": Sampling(temperature=1.0, top_p=0.9, seed=5)},
        {"sampling": Sampling(temperature=0.8, seed=5, repetition_penalty=1.3, frequency_penalty=0.5)},
        {"sampling": Sampling(presence_penalty=1.0, logit_bias=((300, 2.0),))},
        {"stop": ("GPU.", "the b", "in a")},
        {"answer_format": JsonFormat(), "sampling": WILD},
        {"answer_format": JsonFormat()},
        {"max_tokens": 5},
    ],
    ids=["greedy", "seed", "penalties", "bias", "stop", "JSON, seed", "JSON", "length"],
)
def test_an_answer_cut_anywhere_is_the_same_in_the_end(
    demo: GeneratorBackend, options: dict[str, Any]
) -> None:
    request = replace(QUESTION, **options)
    items = _items(demo, request)
    whole = _answer(items)
    for at in sorted({0, 1, 2, len(items) // 2, len(items) - 2, len(items) - 1}):
        assert _cut(demo, request, items, at) == whole, f"cut after {at} of {len(items)} items"


@pytest.mark.parametrize("sampling", [WILD, Sampling()], ids=["seed", "greedy"])
@pytest.mark.parametrize("guided", [True, False], ids=["guided", "free"])
def test_calls_cut_anywhere_are_the_same_in_the_end(
    random_phi: GeneratorBackend, sampling: Sampling, guided: bool
) -> None:
    request = replace(CALLS, sampling=sampling, guided=guided, max_tokens=400 if guided else 40)
    items = _items(random_phi, request)
    whole = _answer(items)
    assert bool(whole.calls) == guided
    cuts = range(0, len(items), max(1, len(items) // 12))
    for at in {*cuts, len(items) - 1}:
        assert _cut(random_phi, request, items, at) == whole, f"cut after {at} of {len(items)} items"


def test_a_call_that_was_told_keeps_its_id() -> None:
    told = Told()
    told.new_of(Chunk("", (1,)))
    told.new_of(CallStarted(0, "first", "look"))
    told.new_of(CallArguments(0, '{"a"'))
    told.begin_again()
    assert told.new_of(Chunk("", (1,))) is None
    assert told.new_of(CallStarted(0, "second", "look")) is None
    assert told.new_of(CallArguments(0, '{"a": 1}')) == CallArguments(0, ": 1}")
    assert told.new_of(CallStarted(1, "third", "look")) == CallStarted(1, "third", "look")


def test_what_is_told_again_in_other_pieces_is_told_once() -> None:
    told = Told()
    for chunk in (Chunk("ab", (1, 2)), Chunk("", (3,)), Chunk("c", (4,))):
        assert told.new_of(chunk) == chunk
    told.begin_again()
    again = Chunk("abcde", (1, 2, 3, 4, 5, 6))
    assert told.new_of(again) == Chunk("de", (5, 6))
    told.begin_again()
    assert told.new_of(Chunk("abcdef", (1, 2, 3))) == Chunk("f", ())
    assert told.ids == [1, 2, 3, 4, 5, 6]


def test_log_probabilities_are_told_for_new_tokens_only() -> None:
    told = Told()
    told.new_of(Chunk("a", (1,), (AnswerLogprob(b"a", -1.0),)))
    told.begin_again()
    assert told.new_of(Chunk("a", (1,))) is None
    last = Chunk("b", (2,), (AnswerLogprob(b"b", -2.0),))
    assert told.new_of(last) == last


def test_an_answer_that_goes_another_way_is_not_mixed() -> None:
    told = Told()
    told.new_of(Chunk("a", (1,)))
    told.begin_again()
    with pytest.raises(EngineFailed, match="cannot go on"):
        told.new_of(Chunk("b", (2,)))


def test_tokens_that_the_grammar_forbids_end_the_answer_in_words(demo: GeneratorBackend) -> None:
    request = replace(QUESTION, answer_format=JsonFormat())
    ids = _answer(_items(demo, QUESTION)).ids
    last = _items(demo, request, ids[:3])[-1]
    assert isinstance(last, Failed)
    assert "grammar" in last.error.message


def test_counts_are_those_of_the_whole_answer(demo: GeneratorBackend) -> None:
    whole = _answer(_items(demo, QUESTION)).end.usage
    ids = _answer(_items(demo, QUESTION)).ids
    *_, last = _items(demo, QUESTION, ids[:10])
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (
        whole.prompt_tokens,
        whole.completion_tokens,
    )
    assert last.usage.tokens_per_second is None, "the first worker's clock is gone"
    assert last.usage.cached_tokens <= whole.prompt_tokens


def test_an_echo_is_the_same_after_a_cut() -> None:
    request = ChatRequest((Message("user", "one two three four"),), stop=("ree",))
    items = _items(EchoBackend(), request)
    for at in range(len(items)):
        assert _cut(EchoBackend(), request, items, at) == _answer(items)
