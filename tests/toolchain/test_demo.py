"""The demo model's facts, its training text, and one short run of everything that makes it."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from localphi.chat import ChatRequest, Finished, JsonFormat, Message, Role, Tool, ToolCall
from localphi.cli import main
from localphi.config import disable_telemetry
from localphi.engine.base import Event
from localphi.engine.prompt import SCHEMA_LINE, render
from localphi.models.manifest import load_manifest
from localphi.toolchain.demo.commands import main as demo_commands
from localphi.toolchain.demo.corpus import Corpus
from localphi.toolchain.demo.describe import PROMPT_FORMAT
from localphi.toolchain.demo.facts import load_knowledge
from localphi.toolchain.demo.settings import (
    ASSISTANT,
    DEVELOPMENT_CASES,
    END,
    SYSTEM,
    TOOL,
    TOOL_CALL,
    TOOL_CALL_CLOSE,
    TOOL_CLOSE,
    TOOL_RESPONSE,
    USER,
    Turn,
)
from localphi.toolchain.demo.tool_turns import sentence
from localphi.toolchain.demo.tools import load_forms, load_tools
from localphi.toolchain.demo.values import Values
from localphi.toolchain.evaluate.cases import load_cases, normalise, normalise_name
from serving import DEMO, ROOT

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first

KNOWLEDGE = load_knowledge()
HELD_OUT, DEVELOPMENT = load_cases(), load_cases(DEVELOPMENT_CASES)
ANSWERS = [pytest.param(fact.answer, id=fact.id) for fact in (*KNOWLEDGE.facts, *KNOWLEDGE.small_talk)]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(KNOWLEDGE, HELD_OUT, DEVELOPMENT)


# ---------------------------------------------------------------- the help must not lie


def _commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in _commands(command))


COMMANDS = dict(_commands(main))
GROUPS = {name for name, command in COMMANDS.items() if isinstance(command, click.Group)}
FLAGS = {"--help", "--version"} | {
    flag for command in COMMANDS.values() for option in command.params for flag in option.opts
}
FLAGS_OF_OTHERS = {
    "--enable-unsafe-webgpu",
    "--enable-features",
    "--force-reinstall",
    "--no-deps",
    "--upgrade",
}
SETTINGS = set(re.findall(r"LOCALPHI_\w+", (ROOT / "webapp/localphi/config.py").read_text(encoding="utf-8")))
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))


@pytest.mark.parametrize("answer", ANSWERS)
def test_commands_flags_and_files_in_the_answers_exist(answer: str) -> None:
    for name, inner in re.findall(rf"\blocalphi ({'|'.join(main.commands)})\b(?: ([a-z]+))?", answer):
        assert name not in GROUPS or f"{name} {inner}" in COMMANDS or inner in {"", "has", "and", "with"}
    for flag in re.findall(r"(?<!\S)--[a-z][a-z-]+", answer):
        assert flag in FLAGS | FLAGS_OF_OTHERS
    for name in re.findall(r"LOCALPHI_\w+", answer):
        assert name in SETTINGS
    for target in re.findall(r"\bmake (serve|test|clean|vectors|[a-z]+-[a-z]+)\b", answer):
        assert target in TARGETS
    for command in re.findall(r"localphi\.toolchain\.demo ([a-z]+)", answer):
        assert command in demo_commands.commands
    for path in re.findall(r"\b(?:agents|tests|docs|static|webapp)/[\w/]*\w(?:\.\w+)?", answer):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"localphi_agents\.\w+", answer):
        assert importlib.util.find_spec(module)


@pytest.mark.parametrize("answer", ANSWERS)
def test_routes_in_the_answers_exist(answer: str, app: Flask) -> None:
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    for path in re.findall(r"(?<![\w/])(/v1/[a-z/]+[a-z]|/healthz|/readyz|/metrics)\b", answer):
        assert path in rules or any(rule.startswith(f"{path}/<") for rule in rules)


def test_there_are_facts_enough_and_each_can_be_asked_in_several_ways() -> None:
    assert len(KNOWLEDGE.facts) >= 250
    for fact in KNOWLEDGE.facts:
        assert len(fact.questions) + len(fact.topics) + len(fact.tasks) >= 6, fact.id
        assert len(re.findall(r"[.!?](?:\s|$)", fact.answer)) <= 4, fact.id


def test_the_held_out_questions_want_what_their_facts_say() -> None:
    """A question that its own fact cannot answer would measure nothing."""
    for case in (*HELD_OUT.help, *DEVELOPMENT.help):
        fact = KNOWLEDGE.by_id.get(case.fact)
        answer = fact.answer if fact else KNOWLEDGE.refusal
        assert not case.missing(answer), case


# ---------------------------------------------------------------- the training text


def _drawn(corpus: Corpus, count: int) -> list[list[Turn]]:
    rng = random.Random(1)
    return [draw(rng) for _ in range(count) for draw in (corpus.help, corpus.tools, corpus.json)]


def test_the_training_text_is_the_same_every_time() -> None:
    one, two = (_drawn(Corpus(KNOWLEDGE, HELD_OUT, DEVELOPMENT), 100) for _ in range(2))
    assert one == two


def test_the_held_out_set_has_nothing_of_the_development_set() -> None:
    assert not HELD_OUT.questions & DEVELOPMENT.questions
    assert not HELD_OUT.tool_names & DEVELOPMENT.tool_names
    assert not HELD_OUT.descriptions & DEVELOPMENT.descriptions
    assert not HELD_OUT.values & DEVELOPMENT.values


def test_the_training_text_has_no_held_out_question_tool_or_value(corpus: Corpus) -> None:
    asked, names, descriptions, values = set(), set(), set(), set()
    for turns in _drawn(corpus, 1500):
        for role, text in turns:
            if role == USER:
                asked.add(normalise(text))
            if role == SYSTEM and TOOL in text:
                tools = json.loads(text.partition(TOOL)[2].removesuffix(TOOL_CLOSE))
                names |= {normalise_name(tool["name"].rpartition("-")[2]) for tool in tools}
                descriptions |= {normalise(tool["description"]) for tool in tools}
            if role == ASSISTANT and text.startswith(TOOL_CALL):
                for call in json.loads(text.removeprefix(TOOL_CALL).removesuffix(TOOL_CALL_CLOSE)):
                    values |= {normalise(v) for v in call["arguments"].values() if isinstance(v, str)}
    assert len(asked) > 2000
    assert len(names) > 1000
    for cases in (HELD_OUT, DEVELOPMENT):
        assert not asked & cases.questions
        assert not names & cases.tool_names
        assert not descriptions & cases.descriptions
        assert not (values - _enumerated()) & cases.values


def _enumerated() -> set[str]:
    """Values that a schema offers: chosen, not copied."""
    parameters = [p for tool in load_tools() for p in tool.parameters]
    parameters += [p for form in load_forms() for p in form.properties]
    return {normalise(value) for parameter in parameters for value in parameter.values}


def test_every_tool_and_form_can_be_said_and_means_what_it_says() -> None:
    values, rng = Values(), random.Random(2)
    for tool in load_tools():
        for _ in range(4):
            text, arguments = tool.ask(values, rng)
            assert {p.name for p in tool.parameters if p.required} <= arguments.keys()
            assert "{" not in text, text
        result = tool.result(values, rng)
        if result and result.startswith("{"):
            assert json.loads(result)
    for form in load_forms():
        _, meant = form.ask(values, rng)
        assert list(meant) == [entry.name for entry in form.properties]


def test_the_training_text_has_the_form_that_the_engine_renders(corpus: Corpus) -> None:
    rng = random.Random(3)
    for turns in [corpus.tools(rng) for _ in range(60)] + [corpus.json(rng) for _ in range(20)]:
        written = "".join(f"{role}{text}{END}" for role, text in turns)
        messages, tools, answer_format = _as_request(turns)
        assert render(PROMPT_FORMAT, messages, None, tools, answer_format) == written + ASSISTANT


def _as_request(turns: list[Turn]) -> tuple[list[Message], list[Tool], JsonFormat | None]:
    """The turns as a client would send them."""
    messages: list[Message] = []
    tools: list[Tool] = []
    answer_format = None
    waiting: list[str] = []
    several = False
    roles: dict[str, Role] = {SYSTEM: "system", USER: "user", ASSISTANT: "assistant"}
    for role, text in turns:
        content = text
        calls: tuple[ToolCall, ...] = ()
        if role == SYSTEM and TOOL in text:
            content, _, listed = text.partition(TOOL)
            for tool in json.loads(listed.removesuffix(TOOL_CLOSE)):
                parameters = json.dumps(tool["parameters"], ensure_ascii=False)
                tools.append(Tool(tool["name"], tool["description"], parameters))
        elif role == SYSTEM and SCHEMA_LINE in text:
            content, _, schema = text.partition(SCHEMA_LINE)
            content, answer_format = content.removesuffix("\n"), JsonFormat(schema)
        elif role == ASSISTANT and text.startswith(TOOL_CALL):
            listed = text.removeprefix(TOOL_CALL).removesuffix(TOOL_CALL_CLOSE)
            calls = tuple(
                ToolCall(f"{len(messages)}.{n}", c["name"], json.dumps(c["arguments"], ensure_ascii=False))
                for n, c in enumerate(json.loads(listed))
            )
            content, waiting = "", [call.id for call in calls]
            several = len(calls) > 1
        elif role == TOOL_RESPONSE:
            result = json.dumps(json.loads(text)["content"], ensure_ascii=False) if several else text
            messages.append(Message("tool", result, tool_call_id=waiting.pop(0)))
            continue
        messages.append(Message(roles[role], content, calls))
    return messages, tools, answer_format


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ('{"temperature": 21}', "The temperature is 21."),
        ('{"max_speed": 7.5, "isOpen": true}', "The max speed is 7.5 and the is Open is true."),
        ('{"items": ["a", "b", "c"]}', "The items is a, b and c."),
        ('{"error": "not found"}', "The tool reported an error: not found."),
        ('["a", "b"]', "The result is a and b."),
        ("12.5", "The result is 12.5."),
        ("all done", "The result is all done."),
    ],
)
def test_a_result_becomes_a_sentence_with_all_its_values(result: str, told: str) -> None:
    assert sentence(result) == told


# ---------------------------------------------------------------- making the model


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_training_gives_a_model_folder_that_the_engine_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the tool-chain is not installed")
    out, work = tmp_path / "model", tmp_path / "work"

    def demo(*arguments: str) -> None:
        command = [sys.executable, "-m", "localphi.toolchain.demo", *arguments, "--work", str(work)]
        subprocess.run(command, check=True, cwd=tmp_path)

    demo("tokenizer")
    demo("train", "--steps", "20")
    demo("export", "--out", str(out))
    manifest = load_manifest(out)
    backend = GeneratorBackend(out, manifest, threads=2, max_active=1, kv_budget_bytes=2**30)
    backend.submit(0, ChatRequest((Message("user", "What is localphi?"),), max_tokens=4))
    events: list[Event] = []
    while backend.busy:
        events += [event for _, event in backend.step()]
    assert isinstance(events[-1], Finished), "whatever a network of 20 steps says, it says it to an end"
    assert load_manifest(work / "fp32").id == "localphi-demo-fp32"
    for file in out.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), f"{file.name} holds a path of this machine"


def test_a_fresh_network_copies_what_it_reads_a_second_time() -> None:
    """The induction heads it is born with."""
    torch = pytest.importorskip("torch", reason="the tool-chain is not installed")
    from localphi.toolchain.demo.network import new_network

    network = new_network(seed=0)
    text = torch.randint(0, 3000, (2, 200), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(input_ids=text.repeat(1, 2), use_cache=False).logits
    copied = (logits[:, 200:-1].argmax(-1) == text[:, 1:]).float().mean().item()
    assert copied > 0.5


def test_the_weights_to_train_further_are_those_of_the_bundled_model() -> None:
    """What the network says with them is what every device must say: the canary."""
    torch = pytest.importorskip("torch", reason="the tool-chain is not installed")
    from localphi.toolchain.demo.network import new_network
    from localphi.toolchain.demo.start import start_weights

    network = new_network(seed=0)
    network.load_state_dict(start_weights(DEMO))
    canary = load_manifest(DEMO).variants["server-cpu"].canary
    assert canary is not None
    ids = torch.tensor([[*canary.prompt, *canary.expected]])
    with torch.no_grad():
        likeliest = network(input_ids=ids, use_cache=False).logits[0].argmax(-1)
    said = likeliest[len(canary.prompt) - 1 : -1].tolist()
    assert said == list(canary.expected)


def test_the_package_data_stays_small() -> None:
    assert sum(file.stat().st_size for file in DEMO.iterdir()) <= 15_000_000
