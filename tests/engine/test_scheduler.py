"""Who goes to the worker when, against a worker that does as the test says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from localphi.chat import ChatRequest, Chunk, Finished, Message, Usage
from localphi.config import DEMO_MODEL
from localphi.engine import restarts, scheduler
from localphi.engine.base import (
    Admitted,
    Ask,
    Cancel,
    Check,
    Command,
    Decoded,
    Failed,
    Sent,
    Status,
    Submit,
    WorkerSpec,
)
from localphi.engine.process import OnEnd, OnMessage
from localphi.engine.queueing import Places
from localphi.engine.scheduler import LOOK_AHEAD, EngineClient
from localphi.engine.ticket import Answer
from localphi.errors import EngineFailed, InvalidRequest, LocalphiError, ModelInUse, WorkerDied

SLOTS = 1 + LOOK_AHEAD  # of the spec below


class _Worker:
    """Admits every request, but one that says "bad"; the rest is the test's."""

    def __init__(self, spec: WorkerSpec, on_message: OnMessage, on_end: OnEnd) -> None:
        self.pid = id(self)
        self.entered: dict[str, Submit] = {}
        self.checked: list[str] = []
        self.cancelled: list[int] = []
        self._tell, self._on_end = on_message, on_end
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._obey, daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        self._commands.put(command)

    def close(self) -> None:
        self._commands.put(None)
        self._thread.join()

    def say(self, text: str, *ids: int) -> None:
        self.tell(text, Chunk("".join(map(str, ids)), ids))

    def finish(self, text: str) -> None:
        self.tell(text, Finished("stop", Usage(1, 1)))

    def tell(self, text: str, event: Chunk | Finished) -> None:
        self._tell(self, (Sent(self.entered[text].request_id, event),))  # type: ignore[arg-type]

    def die(self, error: LocalphiError | None = None) -> None:
        self.close()
        self._on_end(self, error or WorkerDied(DEMO_MODEL, -9))  # type: ignore[arg-type]

    def _obey(self) -> None:
        self._tell(self, Status(0))  # type: ignore[arg-type]
        while (command := self._commands.get()) is not None:
            match command:
                case Submit(number, request):
                    self.entered[_text(request)] = command
                    self._tell(self, (Sent(number, _first(request)),))  # type: ignore[arg-type]
                case Check(number, request):
                    self.checked.append(_text(request))
                    self._tell(self, (Sent(number, _first(request)),))  # type: ignore[arg-type]
                case Cancel(number):
                    self.cancelled.append(number)
                case Ask(number):
                    self._tell(self, (Sent(number, Decoded("yes")),))  # type: ignore[arg-type]


def _text(request: ChatRequest) -> str:
    assert isinstance(request.messages, tuple)
    return request.messages[0].content


def _first(request: ChatRequest) -> Admitted | Failed:
    return Failed(InvalidRequest("bad")) if "bad" in _text(request) else Admitted(1)


def _request(text: str) -> ChatRequest:
    return ChatRequest((Message("user", text),))


class _Bench:
    """An engine, the workers that it has had, and threads to ask it from."""

    def __init__(self, engine: EngineClient, workers: list[_Worker]) -> None:
        self.engine = engine
        self.workers = workers
        self.pool = ThreadPoolExecutor(16)

    @property
    def worker(self) -> _Worker:
        _wait_for(lambda: bool(self.workers))
        return self.workers[-1]

    def ask(self, text: str, client: str = "") -> Answer:
        return self.engine.submit(_request(text), client=client)

    def read(self, answer: Answer) -> Future[str]:
        return self.pool.submit(lambda: "".join(item.text for item in answer if isinstance(item, Chunk)))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Bench]:
    workers: list[_Worker] = []

    def make(spec: WorkerSpec, on_message: OnMessage, on_end: OnEnd) -> _Worker:
        workers.append(_Worker(spec, on_message, on_end))
        return workers[-1]

    monkeypatch.setattr(scheduler, "WorkerProcess", make)
    spec = WorkerSpec(DEMO_MODEL, tmp_path, False, "echo", 1, 1, 2**30)
    bench = _Bench(EngineClient(spec, Places(32)), workers)
    yield bench
    bench.engine.close()
    bench.pool.shutdown()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.001)


def test_a_short_request_of_another_client_goes_before_a_long_line(bench: _Bench) -> None:
    for number in range(10):
        bench.ask(f"long {number}", "long")
    bench.ask("title", "title")
    assert list(bench.worker.entered) == ["long 0", "long 1", "long 2"]
    bench.worker.finish("long 0")
    _wait_for(lambda: "title" in bench.worker.entered)
    bench.worker.finish("long 1")
    _wait_for(lambda: "long 3" in bench.worker.entered)
    assert len(bench.worker.entered) == SLOTS + 2


def test_a_client_that_comes_later_gets_its_half(bench: _Bench) -> None:
    for client in ("a", "b"):
        for number in range(6):
            bench.ask(f"{client}{number}", client)
    for ended in range(9):
        bench.worker.finish(list(bench.worker.entered)[ended])
        _wait_for(lambda ended=ended: len(bench.worker.entered) == SLOTS + ended + 1)  # type: ignore[misc]
    clients = [text[0] for text in bench.worker.entered]
    assert "".join(clients[: SLOTS + 1]) == "aaab"
    assert sorted(clients[SLOTS : SLOTS + 4]) == ["a", "a", "b", "b"]
    assert sorted(bench.worker.entered) == [f"{client}{number}" for client in "ab" for number in range(6)]


def test_what_waits_is_checked_and_admitted_at_once(bench: _Bench) -> None:
    answers = [bench.ask(f"{number}") for number in range(SLOTS + 2)]
    assert [answer.prompt_tokens for answer in answers] == [1] * (SLOTS + 2)
    assert bench.worker.checked == ["3", "4"]
    assert answers[0].queued_s is not None
    assert answers[-1].queued_s is None, "it still waits"
    with pytest.raises(InvalidRequest, match="bad"):
        bench.ask("bad")
    assert "bad" not in bench.worker.entered
    assert bench.engine.held == SLOTS + 2


def test_a_bad_request_leaves_its_slot_to_the_next(bench: _Bench) -> None:
    with pytest.raises(InvalidRequest):
        bench.ask("bad")
    answers = [bench.ask(f"{number}") for number in range(SLOTS)]
    assert set(bench.worker.entered) == {"bad", "0", "1", "2"}
    assert len(answers) == SLOTS


def test_an_answer_that_is_closed_makes_room_wherever_it_is(bench: _Bench) -> None:
    answers = {text: bench.ask(text) for text in ("0", "1", "2", "3", "4")}
    answers["3"].close()
    answers["0"].close()
    _wait_for(lambda: "4" in bench.worker.entered)
    assert "3" not in bench.worker.entered
    assert bench.worker.cancelled == [bench.worker.entered["0"].request_id]
    assert bench.engine.held == 3


def test_answers_at_work_go_on_first_when_the_worker_dies(bench: _Bench) -> None:
    answers = {text: bench.ask(text) for text in ("0", "1", "2", "3")}
    texts = {text: bench.read(answer) for text, answer in answers.items()}
    first = bench.worker
    first.say("1", 7, 8)
    first.die()
    second = bench.worker
    assert second is not first
    _wait_for(lambda: len(second.entered) == SLOTS)
    assert {text: submit.resume for text, submit in second.entered.items()} == {"0": (), "1": (7, 8), "2": ()}
    assert second.checked == [], "what was found valid stays so"
    second.say("1", 7)  # told again
    second.say("1", 8)
    second.say("1", 9)
    for text in ("0", "1", "2"):
        second.finish(text)
    _wait_for(lambda: "3" in second.entered)
    second.finish("3")
    assert texts["1"].result(10) == "789"
    assert bench.engine.state.restarts == 1
    first.tell("1", Chunk("late", (1,)))  # of a process that is not ours any more


def test_what_says_otherwise_the_second_time_ends_in_words(bench: _Bench) -> None:
    text = bench.read(bench.ask("a"))
    bench.worker.say("a", 1, 2)
    bench.worker.die()
    _wait_for(lambda: "a" in bench.worker.entered)
    bench.worker.say("a", 1, 3)
    with pytest.raises(EngineFailed, match="cannot go on"):
        text.result(10)
    assert bench.engine.held == 0


def test_a_model_that_cannot_be_loaded_again_ends_every_answer_with_the_reason(bench: _Bench) -> None:
    texts = [bench.read(bench.ask(str(number))) for number in range(SLOTS + 1)]
    bench.worker.die()
    _wait_for(lambda: len(bench.workers) == 2)
    bench.worker.die(EngineFailed("no such file"))
    for text in texts:
        with pytest.raises(EngineFailed, match="no such file"):
            text.result(10)
    assert bench.engine.state.status == "failed"


def test_a_request_that_has_seen_three_workers_die_is_given_to_no_fourth(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long each of them lived; what came later goes on."""
    monkeypatch.setattr(restarts, "WINDOW_S", 0.0)
    poison = bench.read(bench.ask("poison"))
    for number in range(3):
        other = bench.read(bench.ask(f"other {number}"))
        _wait_for(lambda: "poison" in bench.worker.entered)
        bench.worker.die()
        _wait_for(lambda number=number: len(bench.workers) == number + 2)  # type: ignore[misc]
    with pytest.raises(WorkerDied):
        poison.result(10)
    _wait_for(lambda: "other 2" in bench.worker.entered)
    assert "poison" not in bench.worker.entered
    bench.worker.finish("other 2")
    assert other.result(10) == ""


def test_a_machine_without_room_for_a_process_is_told(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    text = bench.read(bench.ask("a"))
    monkeypatch.setattr(scheduler, "WorkerProcess", make)
    bench.worker.die()
    with pytest.raises(EngineFailed, match=r"cannot be started: .*Cannot allocate memory"):
        text.result(10)
    with pytest.raises(EngineFailed, match="cannot be started"):
        bench.ask("b")
    assert bench.engine.held == 0


def test_an_answer_counts_as_use_until_its_last_item(bench: _Bench) -> None:
    bench.ask("a")
    bench.engine._used_s -= 1000
    bench.worker.finish("a")
    assert bench.engine.idle_s is not None
    assert bench.engine.idle_s < 100


def test_questions_are_asked_again_of_the_next_worker(bench: _Bench) -> None:
    bench.ask("a")
    bench.worker.close()  # it replies to nothing any more
    reply = bench.pool.submit(bench.engine.decode, (1,))
    _wait_for(lambda: not bench.worker._commands.empty())
    bench.worker.die()
    assert reply.result(10) == "yes"


def test_a_model_with_requests_is_not_unloaded(bench: _Bench) -> None:
    answer = bench.ask("a")
    with pytest.raises(ModelInUse, match="a request that is not answered"):
        bench.engine.unload()
    assert bench.engine.idle_s is None
    answer.close()
    assert bench.engine.idle_s is not None
    bench.engine.unload()
    assert bench.engine.state.status == "idle"
    bench.engine.unload()
    assert bench.engine.state.unloads == 1
    bench.ask("b")
    assert len(bench.workers) == 2
