"""The engine client against a real worker process with the echo backend."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import ChatRequest, Chunk, Finished, Item, Message, RawPrompt, Usage
from localphi.config import DEMO_MODEL
from localphi.engine import restarts
from localphi.engine.base import Encode, WorkerSpec
from localphi.engine.client import EngineClient, EngineState, Watcher
from localphi.engine.queueing import Places
from localphi.errors import (
    ContextLengthExceeded,
    EngineBusy,
    EngineStopping,
    InvalidRequest,
    LocalphiError,
    RequestAbandoned,
    WorkerDied,
    WorkerKeepsDying,
)
from serving import kill_until_it_fails

LONG = " ".join(f"word-{number}" for number in range(1000))


def _ask(text: str, **options: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), **options)


def _spec(folder: Path) -> WorkerSpec:
    return WorkerSpec(
        DEMO_MODEL, folder, bundled=False, backend="echo", threads=1, max_active=4, kv_budget_bytes=2**30
    )


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineClient]:
    client = EngineClient(_spec(tmp_path), Places(2))
    yield client
    client.close()


def test_an_answer_streams_and_ends_with_its_usage(engine: EngineClient) -> None:
    with engine.submit(_ask("one two three")) as answer:
        *chunks, last = list(answer)
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, Chunk)) == "one two three"
    assert last == Finished("stop", Usage(prompt_tokens=3, completion_tokens=3))


def test_max_tokens_ends_the_answer_with_length(engine: EngineClient) -> None:
    with engine.submit(_ask("one two three", max_tokens=2)) as answer:
        assert list(answer)[-1] == Finished("length", Usage(3, 2))


def test_a_prompt_longer_than_the_context_fails_before_the_answer(engine: EngineClient) -> None:
    with pytest.raises(ContextLengthExceeded, match="2048"):
        engine.submit(_ask("word " * 2048))


def test_a_full_queue_refuses_and_a_closed_answer_makes_room(engine: EngineClient) -> None:
    first, second = engine.submit(_ask(LONG)), engine.submit(_ask(LONG))
    with pytest.raises(EngineBusy) as caught:
        engine.submit(_ask("hello"))
    assert caught.value.retry_after_s > 0
    first.close()
    first.close()
    with engine.submit(_ask("hello")) as answer:
        assert isinstance(list(answer)[-1], Finished)
    second.close()


def test_answers_at_the_same_time_do_not_mix(engine: EngineClient) -> None:
    with engine.submit(_ask("a " * 50)) as left, engine.submit(_ask("b " * 50)) as right:
        texts = ["".join(i.text for i in answer if isinstance(i, Chunk)) for answer in (left, right)]
    assert texts == ["a " * 50, "b " * 50]


def _kill(engine: EngineClient) -> None:
    pid = engine.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def _cut_short(engine: EngineClient, watcher: Watcher = lambda _: None) -> LocalphiError:
    """How an answer ends whose workers all die. A quick one may be done before, so it is asked again."""
    for _ in range(50):
        answer = engine.submit(_ask(LONG))
        answer.watch(watcher)
        kill_until_it_fails(engine)
        try:
            list(answer)
        except LocalphiError as error:
            return error
    raise AssertionError("every answer was complete")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that keeps dying is tried again at once."""
    monkeypatch.setattr(restarts, "_FIRST_PAUSE_S", 0.0)


def test_an_answer_goes_on_in_the_next_worker(engine: EngineClient) -> None:
    """Word for word, whatever of it the first one had said."""
    for _ in range(2):
        with engine.submit(_ask(LONG)) as answer:
            _kill(engine)
            *chunks, last = list(answer)
        assert "".join(chunk.text for chunk in chunks if isinstance(chunk, Chunk)) == LONG
        assert last == Finished("stop", Usage(1000, 1000))
    assert engine.state.restarts > 0


def test_a_model_whose_workers_keep_dying_is_given_up_with_the_reason(engine: EngineClient) -> None:
    error = _cut_short(engine)
    assert isinstance(error, WorkerKeepsDying)
    assert "-9" in error.message
    assert 0 < error.retry_after_s <= 5
    assert engine.state.failure == error
    assert engine.held == 0
    with pytest.raises(WorkerKeepsDying, match="again and again"):
        engine.submit(_ask("hello"))
    assert engine.worker_pid is None, "it is left alone for a while"


def test_a_model_that_was_given_up_is_tried_again_later(engine: EngineClient, patient: None) -> None:
    assert isinstance(_cut_short(engine), WorkerKeepsDying)
    with engine.submit(_ask("hello")) as answer:
        assert isinstance(list(answer)[-1], Finished)
    assert engine.state.status == "loaded"


def test_a_worker_killed_while_nobody_asks_costs_the_next_request_nothing(engine: EngineClient) -> None:
    for text in ("one", "two", "three"):
        with engine.submit(_ask(text)) as answer:
            assert isinstance(list(answer)[-1], Finished)
        assert engine.worker_pid is not None
        os.kill(engine.worker_pid, signal.SIGKILL)


def test_a_request_that_nobody_waits_for_gives_its_place_back(engine: EngineClient) -> None:
    engine.submit(_ask("one")).close()
    pid = engine.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # stands for a model that takes long to load
    try:
        with pytest.raises(RequestAbandoned):
            engine.submit(_ask("two"), gone=lambda: True)
        assert engine.held == 0
    finally:
        os.kill(pid, signal.SIGCONT)


def test_questions_about_texts_take_no_place_and_do_not_wait_for_answers(tmp_path: Path) -> None:
    engine = EngineClient(_spec(tmp_path), Places(1))
    with engine.submit(_ask(LONG)) as answer:
        assert engine.encode(Encode("a bb")).ids == (1, 2)
        assert engine.decode((1, 2)) == "x xx"
        assert engine.held == 1
        assert isinstance(list(answer)[-1], Finished), "the answer went on"
    engine.close()


def test_a_question_that_cannot_be_replied_to_raises_why(engine: EngineClient) -> None:
    with pytest.raises(InvalidRequest, match="99999"):
        engine.decode((99999,))
    assert engine.decode((1,)) == "x"


def test_a_question_after_the_worker_was_killed_is_replied_to(engine: EngineClient) -> None:
    engine.decode((1,))
    _kill(engine)
    assert engine.decode((1,)) == "x"


def test_the_state_tells_what_the_worker_does(engine: EngineClient) -> None:
    assert engine.state == EngineState("idle")
    with engine.submit(_ask(LONG)):
        _wait_for(lambda: engine.state == EngineState("loaded", held=1, active=1))
    _wait_for(lambda: engine.state == EngineState("loaded"))
    _kill(engine)
    _wait_for(lambda: engine.state.status == "failed")
    assert isinstance(engine.state.failure, WorkerDied)
    engine.start()
    assert engine.state.status == "loading"


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)


def test_a_watcher_sees_every_item_and_the_end(engine: EngineClient) -> None:
    seen: list[Item | LocalphiError | None] = []
    with engine.submit(_ask("one two")) as answer:
        assert answer.prompt_tokens == 2
        answer.watch(seen.append)
        assert list(answer) == seen
    assert isinstance(seen[-1], Finished), "closing what is over is no end"


def test_a_watcher_is_told_of_a_close_and_of_a_failure(engine: EngineClient, patient: None) -> None:
    seen: list[Item | LocalphiError | None] = []
    answer = engine.submit(_ask(LONG))
    answer.watch(seen.append)
    answer.close()
    answer.close()
    assert seen == [None]
    error = _cut_short(engine, seen.append)
    assert seen[-1] is error


def test_a_raw_prompt_is_said_again(engine: EngineClient) -> None:
    for prompt, said in (("one two", "one two"), ((1, 2), "x xx")):
        with engine.submit(ChatRequest(RawPrompt(prompt))) as answer:
            assert "".join(item.text for item in answer if isinstance(item, Chunk)) == said


def test_places_are_shared_by_all_models_of_a_server(tmp_path: Path) -> None:
    places = Places(1)
    left, right = EngineClient(_spec(tmp_path), places), EngineClient(_spec(tmp_path), places)
    answer = left.submit(_ask(LONG))
    with pytest.raises(EngineBusy):
        right.submit(_ask("hello"))
    answer.close()
    with right.submit(_ask("hello")) as other:
        list(other)
    left.close()
    right.close()


def test_every_place_comes_back_when_workers_die(engine: EngineClient, patient: None) -> None:
    for _ in range(3):
        assert isinstance(_cut_short(engine), WorkerDied)
    with engine.submit(_ask("one")), engine.submit(_ask("two")):
        pass  # both of the two places


def test_a_closed_engine_says_that_the_server_is_stopping(tmp_path: Path) -> None:
    for _ in range(50):
        engine = EngineClient(_spec(tmp_path), Places(2))
        answer = engine.submit(_ask(LONG))
        engine.close()
        with pytest.raises(EngineStopping):
            engine.submit(_ask("again"))
        try:
            list(answer)
        except EngineStopping:
            return
    raise AssertionError("every answer was complete")


def test_many_threads_may_ask(tmp_path: Path) -> None:
    engine = EngineClient(_spec(tmp_path), Places(64))
    texts: dict[int, str] = {}

    def ask(number: int) -> None:
        with engine.submit(_ask(f"number {number}")) as answer:
            texts[number] = "".join(item.text for item in answer if isinstance(item, Chunk))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert texts == {number: f"number {number}" for number in range(20)}


def test_closing_the_client_ends_the_process(engine: EngineClient) -> None:
    engine.submit(_ask("one")).close()
    pid = engine.worker_pid
    assert pid is not None
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
