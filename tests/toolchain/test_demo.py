"""The demo model's facts, its training text, and one short run of everything that makes it."""

from __future__ import annotations

import importlib.util
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from localphi.chat import ChatRequest, Chunk, Message
from localphi.cli import main
from localphi.config import disable_telemetry
from localphi.models.manifest import load_manifest
from localphi.toolchain.demo.corpus import Conversations
from localphi.toolchain.demo.facts import OUT_OF_SCOPE, load_knowledge, normalise
from localphi.toolchain.demo.settings import PLAN, USER
from serving import DEMO, ROOT

disable_telemetry()

from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first

KNOWLEDGE = load_knowledge()
ANSWERS = [pytest.param(fact.answer, id=fact.id) for fact in (*KNOWLEDGE.facts, *KNOWLEDGE.small_talk)]


def _commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in _commands(command))


COMMANDS = dict(_commands(main))
FLAGS = {flag for command in COMMANDS.values() for option in command.params for flag in option.opts} | {
    "--help"
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_commands_flags_and_files_in_the_answers_exist(answer: str) -> None:
    for command in re.findall(r"localphi (serve|chat|doctor|models(?: (?!has|and)[a-z]+)?)", answer):
        assert command in COMMANDS or "coming" in answer
    for flag in re.findall(r"(?<!\S)--[a-z-]+", answer):
        assert flag in FLAGS
    for path in re.findall(r"agents/samples/\w+\.py", answer):
        assert (ROOT / path).is_file()
    for module in re.findall(r"localphi_agents\.\w+", answer):
        assert importlib.util.find_spec(module)


def test_the_training_text_is_the_same_every_time_and_never_asks_a_held_out_question() -> None:
    held_out = {normalise(question.ask) for question in KNOWLEDGE.held_out}

    def draw() -> list[list[tuple[str, str]]]:
        rng = random.Random(PLAN.seed)
        return [Conversations(KNOWLEDGE).draw(rng) for _ in range(2000)]

    conversations = draw()
    assert conversations == draw()
    asked = {normalise(text) for turns in conversations for role, text in turns if role == USER}
    assert asked
    assert not asked & held_out


def test_the_bundled_model_answers_what_it_was_not_trained_on() -> None:
    """The figure of the log is 67 of 76 and 10 of 10; a few may go either way on another machine."""
    backend = GeneratorBackend(DEMO, load_manifest(DEMO), threads=2, max_active=1, kv_budget_bytes=2**30)
    right = {True: 0, False: 0}
    for question in KNOWLEDGE.held_out:
        backend.submit(0, ChatRequest((Message("user", question.ask),), max_tokens=120))
        answer = ""
        while backend.busy:
            answer += "".join(event.text for _, event in backend.step() if isinstance(event, Chunk))
        right[question.fact == OUT_OF_SCOPE] += not question.missing(answer)
    assert right[False] >= 64
    assert right[True] >= 9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_command_makes_a_model_folder_that_the_engine_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the tool-chain is not installed")
    out = tmp_path / "model"
    command = [sys.executable, "-m", "localphi.toolchain.demo", "all", "--steps", "3"]
    subprocess.run([*command, "--work", str(tmp_path / "work"), "--out", str(out)], check=True, cwd=tmp_path)
    manifest = load_manifest(out)
    backend = GeneratorBackend(out, manifest, threads=2, max_active=1, kv_budget_bytes=2**30)
    backend.submit(0, ChatRequest((Message("user", "What is localphi?"),), max_tokens=4))
    while backend.busy:
        backend.step()
    for file in out.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), f"{file.name} holds a path of this machine"
