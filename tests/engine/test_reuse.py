"""What is reused changes no token: answers from kept KV caches against those of a backend that keeps none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import (
    CallArguments,
    ChatRequest,
    Chunk,
    Finished,
    JsonFormat,
    Message,
    Role,
    Sampling,
    Tool,
    ToolCall,
)
from localphi.config import disable_telemetry
from localphi.engine.answer import PREFILL_CHUNK
from localphi.engine.base import Event, Failed
from localphi.models.manifest import Manifest, load_manifest
from serving import DEMO
from tiny_phi import PHI_4, tiny_phi

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first

LONG = "Tell me about localphi, please. " * 36
TOOL = Tool(
    "get_weather", "Get the weather.", '{"type": "object", "properties": {"city": {"type": "string"}}}'
)


@dataclass(frozen=True)
class Pair:
    """The same model twice. cold: keeps no caches."""

    warm: GeneratorBackend
    cold: GeneratorBackend


@dataclass(frozen=True)
class Answered:
    text: str
    ids: tuple[int, ...]
    arguments: str
    end: Finished

    @property
    def cached(self) -> int:
        assert self.end.usage.cached_tokens is not None
        return self.end.usage.cached_tokens


def _backend(folder: Path, manifest: Manifest) -> GeneratorBackend:
    return GeneratorBackend(folder, manifest, threads=1, max_active=2, kv_budget_bytes=2**30)


def _pair(folder: Path, manifest: Manifest) -> Pair:
    cold = _backend(folder, manifest)
    cold._caches.give_back = cold._caches.discard  # type: ignore[method-assign]
    return Pair(_backend(folder, manifest), cold)


@pytest.fixture(params=["demo", "random"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    if request.param == "demo":
        return _pair(DEMO, load_manifest(DEMO))
    return _pair(tmp_path, tiny_phi(tmp_path, PHI_4))


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Random weights that like to close what is open, or their JSON would have no end."""
    folder = tmp_path_factory.mktemp("guided")
    return _pair(folder, tiny_phi(folder, PHI_4, bias={'"': 4, "}": 3, "]": 3}))


def _run(backend: GeneratorBackend, request: ChatRequest) -> Answered:
    backend.submit(0, request)
    events: list[Event] = []
    while backend.busy:
        events += [event for _, event in backend.step()]
    end = events[-1]
    assert isinstance(end, Finished), end
    chunks = [event for event in events if isinstance(event, Chunk)]
    return Answered(
        "".join(chunk.text for chunk in chunks),
        tuple(token for chunk in chunks for token in chunk.token_ids),
        "".join(event.text for event in events if isinstance(event, CallArguments)),
        end,
    )


def _both(pair: Pair, request: ChatRequest) -> Answered:
    """The warm answer, after the cold one was seen to be the same."""
    warm, cold = _run(pair.warm, request), _run(pair.cold, request)
    assert (warm.ids, warm.text, warm.arguments, warm.end) == (cold.ids, cold.text, cold.arguments, cold.end)
    assert cold.cached == 0
    return warm


def _ask(texts: Sequence[str], **options: Any) -> ChatRequest:
    """texts: of the user and the assistant in turn."""
    roles: tuple[Role, Role] = ("user", "assistant")
    messages = tuple(Message(roles[place % 2], text) for place, text in enumerate(texts))
    return replace(ChatRequest(messages, max_tokens=40), **options)


def _prompt_tokens(pair: Pair, request: ChatRequest) -> int:
    return len(pair.warm._intake.prompt_ids(request))


def test_the_turns_of_a_conversation_compute_only_what_is_new(pair: Pair) -> None:
    texts = [LONG]
    for question in ("And what is WebGPU?", "Why?", "Please, once more. " * 9):
        request = _ask(texts)
        before = _prompt_tokens(pair, request)
        answer = _both(pair, request)
        texts += [answer.text, question]
        assert _both(pair, _ask(texts)).cached >= before - 1
    assert before > PREFILL_CHUNK, "the prompt was never longer than a chunk"


def test_a_first_request_finds_nothing_and_the_same_again_all_but_a_token(pair: Pair) -> None:
    request = _ask(["What is localphi?"])
    assert _both(pair, request).cached == 0
    assert _both(pair, request).cached == _prompt_tokens(pair, request) - 1


def test_an_edited_question_keeps_what_is_before_it(pair: Pair) -> None:
    told = _both(pair, _ask([LONG, "I do.", "What is it for?"], max_tokens=4))
    edited = _both(pair, _ask([LONG, "I do.", "Who made it?"], max_tokens=4))
    assert told.cached == 0
    assert edited.cached > len(pair.warm._intake.tokenizer.encode(LONG))


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_a_cancelled_answer_leaves_a_cache_that_is_right(pair: Pair, steps: int) -> None:
    """steps: 1 is in the middle of the prompt, 2 and more in the answer."""
    request = _ask([LONG])
    assert _prompt_tokens(pair, request) > PREFILL_CHUNK
    pair.warm.submit(1, request)
    for _ in range(steps):
        pair.warm.step()
    pair.warm.cancel(1)
    assert not pair.warm.busy
    assert _both(pair, request).cached >= PREFILL_CHUNK - 1
    assert _both(pair, _ask([LONG, "Well", "More."])).cached >= PREFILL_CHUNK - 1


def test_an_answer_that_a_stop_string_ended_leaves_a_cache_that_is_right(pair: Pair) -> None:
    whole = _both(pair, _ask(["What is localphi?"]))
    middle = len(whole.text) // 2
    stop = whole.text[middle : middle + 2]
    stopped = _both(pair, _ask(["What is localphi?"], stop=(stop,)))
    assert len(stopped.text) < len(whole.text)
    _both(pair, _ask(["What is localphi?", stopped.text, "And WebGPU?"]))
    _both(pair, _ask(["What is localphi?"]))


def test_one_cache_serves_every_way_to_choose(pair: Pair) -> None:
    ways = [
        Sampling(),
        Sampling(temperature=1.2, seed=5),
        Sampling(temperature=1.0, top_p=0.8, top_k=40, seed=5),
        Sampling(repetition_penalty=1.3, presence_penalty=0.5),
        Sampling(),
    ]
    cached = [_both(pair, _ask([LONG], sampling=sampling)).cached for sampling in ways]
    assert cached[0] == 0
    assert min(cached[1:]) > 100


def test_answers_side_by_side_never_share_a_cache(pair: Pair) -> None:
    request = _ask(["What is localphi?"])
    alone = _both(pair, request)
    for number in range(2):
        pair.warm.submit(number, request)
    ids: dict[int, list[int]] = {0: [], 1: []}
    cached = []
    while pair.warm.busy:
        for number, event in pair.warm.step():
            if isinstance(event, Chunk):
                ids[number] += event.token_ids
            elif isinstance(event, Finished):
                cached.append(event.usage.cached_tokens)
    assert ids[0] == ids[1] == list(alone.ids)
    assert sorted(map(bool, cached)) == [False, True]


def test_a_broken_cache_fails_its_answer_and_is_never_seen_again(pair: Pair) -> None:
    request = _ask(["What is localphi?"])
    whole = _both(pair, request)
    pair.warm.submit(1, request)
    pair.warm.step()
    ((_, answer),) = pair.warm._active
    answer.cache._generator = None  # whatever GenAI might do
    ((_, event),) = pair.warm.step()
    assert isinstance(event, Failed)
    assert "GenAI failed" in event.error.message
    again = _run(pair.warm, request)
    assert (again.ids, again.cached) == (whole.ids, 0)


def test_greedy_ids_are_those_of_genais_own_search() -> None:
    import onnxruntime_genai as og

    backend = _backend(DEMO, load_manifest(DEMO))
    model = og.Model(str(DEMO))
    for text in ("What is localphi?", "Hello", "x y z " * 50):
        request = _ask([text])
        prompt = backend._intake.prompt_ids(request)
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(prompt) + 40, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
        wanted = [int(token) for token in generator.get_sequence(0)[len(prompt) :]]
        answer = _run(backend, request)
        assert list(answer.ids) == [
            token for token in wanted if token not in backend._intake.tokenizer.end_ids
        ]


@pytest.mark.parametrize("top_logprobs", [None, 0], ids=["chosen by GenAI", "chosen by us"])
def test_a_conversation_that_outgrows_the_first_rope_factor_goes_on(
    guided: Pair, top_logprobs: int | None
) -> None:
    """From there on all is computed with the second; what was computed with the first is not used again."""
    request = _ask(["x" * 4075], max_tokens=60, top_logprobs=top_logprobs)
    before = _prompt_tokens(guided, request)
    assert before < 4096 < before + 60
    assert len(_both(guided, request).ids) == 60
    assert _both(guided, request).cached == 0
    longer = _ask(["x" * 4075, "y", "z" * 30], max_tokens=4)
    assert _both(guided, longer).cached >= before
    assert _both(guided, longer).cached == _prompt_tokens(guided, longer) - 1


def test_a_tool_loop_reads_its_tools_once(guided: Pair) -> None:
    question = Message("user", "What is the weather in Oslo and in Rome? " * 5)
    request = ChatRequest(
        (question,),
        tools=(TOOL,),
        tool_choice="required",
        max_tokens=400,
    )
    before = _prompt_tokens(guided, request)
    first = _both(guided, request)
    call = ToolCall("call_1", "get_weather", first.arguments.split("}")[0] + "}")
    result = Message("tool", "snow", tool_call_id="call_1")
    turns = (question, Message("assistant", "", (call,)), result)
    assert _both(guided, replace(request, messages=turns)).cached >= before


def test_the_next_turn_of_a_guided_conversation_begins_its_grammar_anew(guided: Pair) -> None:
    """Also where the prompt begins with all that is in the cache; GenAI does not rewind to its own length."""
    held = JsonFormat('{"enum": ["apple", "pear"]}')
    texts = ["Which fruit? " * 5]
    for _ in range(3):
        before = _prompt_tokens(guided, _ask(texts, answer_format=held))
        answer = _both(guided, _ask(texts, answer_format=held))
        texts += [answer.text, "Another one?"]
        assert answer.end.reason == "stop"
        assert _both(guided, _ask(texts, answer_format=held, max_tokens=30)).cached >= before


def test_another_grammar_or_seed_reads_all_anew(guided: Pair) -> None:
    text = "Give me an object. " * 5
    loose = replace(_ask([text]), answer_format=JsonFormat(), max_tokens=60)
    _both(guided, loose)
    assert _both(guided, loose).cached > 0
    seeded = replace(loose, sampling=Sampling(temperature=1.0, seed=3))
    assert [_both(guided, seeded).cached for _ in range(2)] == [0, 0]
    assert _both(guided, replace(loose, answer_format=JsonFormat('{"enum": ["a", "b"]}'))).cached == 0
    assert _both(guided, replace(loose, answer_format=None)).cached < 40
