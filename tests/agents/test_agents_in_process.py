"""Agents on a model of this process: the server's answers, without a server."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.contents import AuthorRole, ChatHistory, ChatMessageContent
from semantic_kernel.exceptions.service_exceptions import ServiceInvalidRequestError
from semantic_kernel.functions import KernelArguments, kernel_function

from localphi.config import Settings
from localphi.engine.client import Engines
from localphi.keys import KeyStore
from localphi_agents import AnswerIncomplete, ModelUnavailable, RequestRefused
from localphi_agents.chat import Message, Options, Usage
from localphi_agents.client import LocalphiClient
from localphi_agents.in_process import InProcessClient
from localphi_agents.semantic_kernel import PhiChatCompletion, PhiPromptExecutionSettings, PhiTextCompletion
from serving import LiveServer

HELLO = [Message("user", "What is ONNX?")]
GREEDY = Options(temperature=0, max_tokens=40)
BLOCK_TOKENS = 32  # what the KV cache keeps is whole blocks
QUESTIONS = (
    "What is localphi?", "What is ONNX?", "How do I quantize a model?", "What is WebGPU?",
    "What is a KV cache?", "Which models are there?", "Hello!", "What is LoRA?",
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessClient]:
    with InProcessClient(settings=Settings(home=tmp_path_factory.mktemp("home"))) as client:
        yield client


def engines(client: InProcessClient) -> Engines:
    held: Engines = client._engines
    return held


async def test_what_it_says_is_what_the_server_says(here: InProcessClient, demo_server: LiveServer) -> None:
    there = LocalphiClient(demo_server.url)
    for ask in (LocalphiClient.chat, LocalphiClient.complete):
        prompt: Any = HELLO if ask is LocalphiClient.chat else "localphi is"
        ours, theirs = await ask(here, prompt, GREEDY), await ask(there, prompt, GREEDY)
        assert ours.text == theirs.text
        assert (ours.finish_reason, ours.model) == (theirs.finish_reason, theirs.model)


async def test_text_comes_as_it_is_made(here: InProcessClient) -> None:
    deltas = [delta async for delta in here.stream(HELLO, GREEDY)]
    assert len(deltas) > 5
    assert "".join(delta.text for delta in deltas) == (await here.chat(HELLO, GREEDY)).text


def test_one_client_serves_one_event_loop_after_the_other(here: InProcessClient) -> None:
    first, second = (asyncio.run(here.chat(HELLO, GREEDY)).text for _ in range(2))
    assert first == second != ""


async def test_what_the_model_cannot_do_is_refused_in_the_servers_words(here: InProcessClient) -> None:
    with pytest.raises(RequestRefused, match="no model 'other'") as refused:
        await here.chat(HELLO, Options(model="other"))
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


@pytest.mark.parametrize("model", ["nothing-of-that-name", "/no/such/folder"])
def test_a_model_that_is_not_there_is_told_at_once(tmp_path: Path, model: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"no model '.*'. Known models: localphi-demo"):
        InProcessClient(model, settings=Settings(home=tmp_path))


async def test_access_keys_of_the_store_are_no_obstacle(tmp_path: Path) -> None:
    KeyStore(tmp_path).new("somebody")
    with InProcessClient(settings=Settings(home=tmp_path, backend="echo")) as client:
        assert (await client.chat(HELLO)).text == "What is ONNX?"


async def test_after_closing_a_request_is_refused(tmp_path: Path) -> None:
    with InProcessClient(settings=Settings(home=tmp_path, backend="echo")) as client:
        await client.chat(HELLO)
    with pytest.raises(RequestRefused) as refused:
        await client.chat(HELLO)
    assert refused.value.status == 503


def test_a_program_without_a_main_guard_runs_once_and_leaves_no_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import asyncio
        from pathlib import Path
        from localphi_agents.chat import Message
        from localphi_agents.in_process import InProcessClient
        from localphi.config import Settings

        print("once")
        client = InProcessClient(settings=Settings(home=Path("home")))
        reply = asyncio.run(client.chat([Message("user", "What is ONNX?")]))
        print(bool(reply.text), client._engines.get(reply.model).worker_pid)
        """),
        encoding="utf-8",
    )
    command = [sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    once, told = done.stdout.splitlines()
    answered, pid = told.split()
    assert (once, answered) == ("once", "True")
    assert not _alive(int(pid))


def _alive(pid: int) -> bool:
    psutil = pytest.importorskip("psutil")
    return bool(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


async def test_leaving_a_stream_ends_the_work(here: InProcessClient) -> None:
    stream = here.stream(HELLO, Options(temperature=0, max_tokens=1500, extra={"ignore_eos": True}))
    async for _ in stream:
        break
    await stream.aclose()
    await _becomes_idle(here)


async def test_cancelling_a_task_ends_the_work(here: InProcessClient) -> None:
    long = Options(temperature=0, max_tokens=1500, extra={"ignore_eos": True})
    task = asyncio.create_task(here.chat(HELLO, long))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _becomes_idle(here)


async def _becomes_idle(client: InProcessClient) -> None:
    (report,) = engines(client).reports()
    end = time.monotonic() + 10
    while engines(client).report(report.model).state.held:
        assert time.monotonic() < end, "the answer goes on"
        await asyncio.sleep(0.02)


async def test_an_application_that_fails_is_told_and_no_request_hangs(
    here: InProcessClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b": still there\n\n"
        raise OSError("out of order")

    transport = here._http._transport
    monkeypatch.setattr(transport, "_app", broken)
    with pytest.raises(AnswerIncomplete, match="out of order"):
        await asyncio.wait_for(here.chat(HELLO), 10)
    monkeypatch.setattr(transport, "_app", lambda environ, start: int("none"))
    with pytest.raises(AnswerIncomplete, match="invalid literal"):
        await asyncio.wait_for(here.chat(HELLO), 10)


async def test_requests_begin_without_waiting_for_pythons_lock(
    here: InProcessClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application computes until all have begun; whoever waited for it would wait a second each time."""
    begun = threading.Event()

    def computing(environ: Any, start_response: Any) -> Any:
        end = time.monotonic() + 1
        while not begun.is_set() and time.monotonic() < end:
            pass
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return [b"data: [DONE]\n\n"]

    monkeypatch.setattr(here._http._transport, "_app", computing)
    interval, start = sys.getswitchinterval(), time.monotonic()
    sys.setswitchinterval(5)  # a thread that computes keeps the lock for as long
    try:
        asked = [asyncio.create_task(here.chat(HELLO)) for _ in range(4)]
        await asyncio.sleep(0)  # each has begun
        took = time.monotonic() - start
        begun.set()
    finally:
        sys.setswitchinterval(interval)
    await asyncio.gather(*asked, return_exceptions=True)
    assert took < 1


# ---- agents


@dataclass
class Weather:
    asked: int = 0

    @kernel_function(description="Get the current weather in a city.")
    def get_weather(self, city: Literal["Oslo", "Rome"]) -> dict[str, Any]:
        self.asked += 1
        return {"city": city, "temperature": 3, "condition": "snow"}


async def _transcript(service: PhiChatCompletion, question: str) -> list[tuple[str, str]]:
    agent = ChatCompletionAgent(
        service=service,
        plugins=[Weather()],
        instructions="You are a helpful assistant.",
        arguments=KernelArguments(PhiPromptExecutionSettings(temperature=0, max_tokens=60)),
    )
    thread = ChatHistoryAgentThread()
    for asked in (question, "Tell me more."):
        async for _ in agent.invoke_stream(asked, thread=thread):
            pass
    return [
        (message.role.value, "|".join(str(item) for item in message.items))
        async for message in thread.get_messages()
    ]


async def test_eight_agents_at_once_say_what_they_say_one_by_one(here: InProcessClient) -> None:
    service = PhiChatCompletion(client=here)
    one_by_one = [await _transcript(service, question) for question in QUESTIONS]
    at_once = await asyncio.gather(*(_transcript(service, question) for question in QUESTIONS))
    assert [len(transcript) >= 4 for transcript in at_once] == [True] * len(QUESTIONS)
    assert at_once == one_by_one


async def test_a_loop_of_five_calls_computes_each_token_of_the_prompt_once(here: InProcessClient) -> None:
    """Whatever the model says, it has to call: five times, then an answer that may not call."""
    service, weather, kernel = PhiChatCompletion(client=here), Weather(), Kernel()
    kernel.add_plugin(weather, "Weather")
    behavior = FunctionChoiceBehavior.Required()
    behavior.maximum_auto_invoke_attempts = 5
    settings = PhiPromptExecutionSettings(
        temperature=0, max_tokens=60, parallel_tool_calls=False, function_choice_behavior=behavior
    )
    history = ChatHistory(messages=[ChatMessageContent(role=AuthorRole.USER, content="Weather in Oslo?")])
    usages: list[Usage] = []
    stream = LocalphiClient.stream

    def counting(self: LocalphiClient, *asked: Any) -> Any:
        async def counted() -> Any:
            async for delta in stream(self, *asked):
                if delta.usage:
                    usages.append(delta.usage)
                yield delta

        return counted()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalphiClient, "stream", counting)
        async for _ in service.get_streaming_chat_message_contents(history, settings, kernel=kernel):
            pass
    assert (weather.asked, len(usages)) == (5, 6)
    for before, after in itertools.pairwise(usages):
        new = after.prompt_tokens - before.prompt_tokens - before.completion_tokens
        computed = after.prompt_tokens - (after.cached_tokens or 0)
        assert computed < new + BLOCK_TOKENS, usages


async def test_a_text_goes_on_whole_and_in_pieces(here: InProcessClient) -> None:
    service = PhiTextCompletion(client=here)
    settings = PhiPromptExecutionSettings(temperature=0, max_tokens=12)
    (whole,) = await service.get_text_contents("localphi is", settings)
    pieces = [
        piece
        async for texts in service.get_streaming_text_contents("localphi is", settings)
        for piece in texts
    ]
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == whole.text != ""
    assert whole.metadata["usage"].completion_tokens == 12
    assert pieces[-1].metadata["usage"].prompt_tokens == whole.metadata["usage"].prompt_tokens
    assert whole.ai_model_id == "localphi"
    assert whole.metadata["model"] == "localphi-demo"


async def test_a_text_service_answers_prompt_functions_of_a_kernel(here: InProcessClient) -> None:
    kernel = Kernel()
    kernel.add_service(PhiTextCompletion(client=here, service_id="text"))
    settings = PhiPromptExecutionSettings(temperature=0, max_tokens=5)
    said = await kernel.invoke_prompt("localphi {{$verb}}", arguments=KernelArguments(settings, verb="is"))
    (wanted,) = await PhiTextCompletion(client=here).get_text_contents("localphi is", settings)
    assert str(said) == wanted.text


async def test_a_text_service_refuses_what_the_server_refuses(here: InProcessClient) -> None:
    service = PhiTextCompletion(client=here, ai_model_id="other")
    with pytest.raises(ServiceInvalidRequestError, match="no model 'other'"):
        await service.get_text_contents("hi", PhiPromptExecutionSettings())


def test_the_transport_speaks_http(here: InProcessClient) -> None:
    """Other methods and paths, too, and queries."""

    async def get(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=here._http._transport, headers=here._headers) as client:
            return await client.get(f"http://localhost{path}")

    models = asyncio.run(get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["localphi-demo"]
    assert asyncio.run(get("/nothing?a=b%20c")).status_code == 404
