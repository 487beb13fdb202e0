"""The samples run as their readers run them, and importing the package is light."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving import ROOT, LiveServer

from .scripted_server import Dialogue, Script, ScriptedServer, answer, calling

Serve = Callable[[Script], ScriptedServer]
Sample = Callable[[str, str], list[str]]
SPEAKERS = {"Phi", "Writer", "Reviewer", "Front", "Desk"}

SAMPLES = ROOT / "agents" / "samples"
PATHS = sorted(SAMPLES.glob("[0-9]*.py"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


@pytest.fixture
def sample(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Runs a sample in this process, which has imported Semantic Kernel already, and gives what it prints."""

    def run_sample(name: str, url: str) -> list[str]:
        path = str(SAMPLES / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, "--url", url])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run_sample


def last_word(body: dict[str, Any]) -> bytes:
    """Says the results it was given."""
    return answer(*(message["content"] for message in body["messages"] if message["role"] == "tool"))


def test_01_chat_prints_both_turns(echo_url: str) -> None:
    done = run(str(SAMPLES / "01_chat.py"), "--url", echo_url)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "You: What is localphi?",
        "Phi: What is localphi?",
        "You: How can I use it?",
        "Phi: How can I use it?",
    ]


def test_02_streaming_tells_how_the_answer_ended(echo_url: str, sample: Sample) -> None:
    asked, said, told, left = sample("02_streaming", echo_url)
    assert (asked, said) == ("You: What is localphi?", "Phi: What is localphi?")
    assert told.startswith("(3 tokens, the first after ")
    assert told.endswith(" s, ended by stop)")
    assert left == "Phi: What  (that is enough)"


def test_03_one_function_calls_it(scripted: Serve, sample: Sample) -> None:
    dialogue = Dialogue(calling(("Weather-get_weather", {"city": "Oslo"})), last_word)
    assert sample("03_one_function", scripted(dialogue).url) == [
        "You: What is the weather in Oslo?",
        "     get_weather(city='Oslo')",
        'Phi: {"temperature": 3, "condition": "snow"}',
    ]


def test_04_parallel_functions_shows_calls_and_results(scripted: Serve, sample: Sample) -> None:
    calls = (("Weather-get_weather", {"city": city}) for city in ("Oslo", "Nowhere"))
    dialogue = Dialogue(calling(*calls), answer("Snow."))
    assert sample("04_parallel_functions", scripted(dialogue).url) == [
        "You: What is the weather in Rome and Oslo?",
        '     calls get_weather({"city": "Oslo"})',
        '     calls get_weather({"city": "Nowhere"})',
        "     gets  {'temperature': 3, 'condition': 'snow'}",
        "     gets  {'error': 'unknown city'}",
        "Phi: Snow.",
    ]


def test_05_structured_output_makes_an_object(scripted: Serve, sample: Sample) -> None:
    order = {"customer": "Ada Lovelace", "city": "London", "quantity": 3, "product": "desk lamp"}
    dialogue = Dialogue(answer(json.dumps(order)))
    assert sample("05_structured_output", scripted(dialogue).url)[2:] == [
        "     customer = 'Ada Lovelace'",
        "     city = 'London'",
        "     quantity = 3",
        "     product = 'desk lamp'",
    ]


def test_06_rag_finds_the_passage_and_names_its_source(scripted: Serve, sample: Sample) -> None:
    dialogue = Dialogue(calling(("Docs-search", {"query": "two agents in one chat"})), answer("Number 7."))
    assert sample("06_rag", scripted(dialogue).url) == [
        "You: Search my documents: which sample shows two agents in one chat?",
        "     reads README.md",
        '     calls search({"query": "two agents in one chat"})',
        "     finds README.md, Samples",
        "Phi: Number 7.",
    ]
    told = [message["content"] for message in dialogue.bodies[1]["messages"] if message["role"] == "tool"]
    assert "07_group_chat.py" in told[0]


def test_07_group_chat_takes_turns_and_each_reads_the_others(scripted: Serve, sample: Sample) -> None:
    dialogue = Dialogue(answer("First."), answer("Shorter!"), answer("Second."))
    assert sample("07_group_chat", scripted(dialogue).url) == [
        "You: Say in one sentence what localphi is.",
        "Writer: First.",
        "Reviewer: Shorter!",
        "Writer: Second.",
    ]
    last = dialogue.bodies[2]["messages"]
    assert last[0] == {"role": "system", "content": "You write one short sentence."}
    assert [message["content"] for message in last if "!" in message["content"]] == ["Shorter!"]


def test_08_handoff_hands_over_and_comes_to_an_end(scripted: Serve, sample: Sample) -> None:
    dialogue = Dialogue(
        calling(("Handoff-transfer_to_Desk", {})),
        calling(("Weather-get_weather", {"city": "Oslo"}), turn=2),
        answer("Snow."),
    )
    lines = sample("08_handoff", scripted(dialogue).url)
    assert lines[0] == "You: What is the weather in Oslo?"
    assert "Desk: Snow." in lines
    assert lines[-1].startswith("End: ")
    offered = [{tool["function"]["name"] for tool in body["tools"]} for body in dialogue.bodies]
    assert "Handoff-transfer_to_Desk" in offered[0]
    assert "Weather-get_weather" in offered[1]
    told = [message["content"] for message in dialogue.bodies[2]["messages"] if message["role"] == "tool"]
    assert "Oslo: snow, 3 degrees" in told


def test_09_mcp_client_calls_a_tool_of_the_server_it_starts(scripted: Serve, sample: Sample) -> None:
    dialogue = Dialogue(calling(("weather-get_weather", {"city": "Oslo"})), last_word)
    assert sample("09_mcp_client", scripted(dialogue).url) == [
        "You: What is the weather in Oslo?",
        "     tools get_weather",
        '     calls get_weather({"city": "Oslo"})',
        "     gets  Oslo: snow, 3 degrees",
        "Phi: Oslo: snow, 3 degrees",
    ]


def test_10_mcp_server_answers_its_client(scripted: Serve, sample: Sample) -> None:
    asked, asks, said = sample("10_mcp_server", scripted(Dialogue(answer("A server."))).url)
    assert (asked, said) == ("You: What is localphi?", "Phi: A server.")
    assert asks.startswith("     asks ask_phi at http://127.0.0.1:")


def test_11_agent_framework_calls_the_function(scripted: Serve, sample: Sample) -> None:
    dialogue = Dialogue(calling(("get_weather", {"city": "Oslo"})), last_word)
    assert sample("11_agent_framework", scripted(dialogue).url) == [
        "You: What is the weather in Oslo?",
        "     get_weather(city='Oslo')",
        'Phi: {"temperature": 3, "condition": "snow"}',
        "     (6 tokens)",
    ]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_samples_run_on_the_demo_model_and_are_short(
    path: Path, demo_server: LiveServer, sample: Sample
) -> None:
    """Whatever the model says; what it should say is the model's own test."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    try:
        lines = sample(path.stem, demo_server.url)
    except SystemExit as left:  # a model may write on and on within a call of "complete_task"
        if path.stem == "08_handoff" and "allow more with max_tokens" in str(left):
            return
        raise
    assert lines[0].startswith("You: ")
    assert any(line.partition(": ")[0] in SPEAKERS for line in lines)


BEYOND_THE_DEMO = pytest.mark.xfail(reason="too much for the demo model; its LOG.md tells", strict=False)


def test_the_demo_model_calls_the_one_function(demo_server: LiveServer, sample: Sample) -> None:
    assert sample("03_one_function", demo_server.url)[1:] == [
        "     get_weather(city='Oslo')",
        "Phi: The temperature is 3 and the condition is snow.",
    ]


def test_the_demo_model_calls_both_functions(demo_server: LiveServer, sample: Sample) -> None:
    assert sample("04_parallel_functions", demo_server.url)[1:3] == [
        '     calls get_weather({"city": "Rome"})',
        '     calls get_weather({"city": "Oslo"})',
    ]


def test_the_demo_model_fills_the_object(demo_server: LiveServer, sample: Sample) -> None:
    assert sample("05_structured_output", demo_server.url)[2:] == [
        "     customer = 'Ada Lovelace'",
        "     city = 'London'",
        "     quantity = 3",
        "     product = 'desk lamp'",
    ]


def test_the_demo_model_calls_the_tool_of_the_mcp_server(demo_server: LiveServer, sample: Sample) -> None:
    assert '     calls get_weather({"city": "Oslo"})' in sample("09_mcp_client", demo_server.url)


def test_the_demo_model_calls_the_function_for_agent_framework(
    demo_server: LiveServer, sample: Sample
) -> None:
    assert "     get_weather(city='Oslo')" in sample("11_agent_framework", demo_server.url)


@BEYOND_THE_DEMO
def test_the_demo_model_hands_over(demo_server: LiveServer, sample: Sample) -> None:
    assert any(line.startswith("Desk: ") for line in sample("08_handoff", demo_server.url))


def test_01_chat_without_a_server_says_how_to_start_it() -> None:
    done = run(str(SAMPLES / "01_chat.py"), "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "No server answers at http://127.0.0.1:1. Start it with: localphi serve --port 1"
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_sample_without_a_server_says_how_to_start_it(path: Path, sample: Sample) -> None:
    with pytest.raises(SystemExit, match=r"Start it with: localphi serve --port 1$"):
        sample(path.stem, "http://127.0.0.1:1")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, localphi_agents; print({'httpx', 'semantic_kernel', 'pydantic'} & set(sys.modules))"
    assert run("-c", code).stdout == "set()\n"
