"""How answers are judged, and the evaluation of the bundled model as its users run it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from localphi.chat import JsonFormat, Message, Tool, ToolCall
from localphi.cli import main
from localphi.models.manifest import load_manifest
from localphi.toolchain.evaluate.ask import Answer, Asker
from localphi.toolchain.evaluate.cases import (
    CaseSet,
    CaseTool,
    HelpCase,
    JsonCase,
    ResultCase,
    ToolCase,
    load_cases,
    normalise_name,
)
from localphi.toolchain.evaluate.score import KINDS, MEASURES, Count, count, judge, number_of_cases
from localphi.toolchain.evaluate.table import Column, Record, load_record, save_record, table
from serving import DEMO

PARKING = CaseTool(
    "find_parking",
    "Find parking.",
    {
        "type": "object",
        "properties": {
            "place": {"type": "string"},
            "hours": {"type": "number"},
            "covered": {"type": "boolean"},
        },
        "required": ["place"],
    },
)
TAXI = CaseTool("order_taxi", "Order a taxi.", {"type": "object", "properties": {}})
NOTHING = CaseSet(help=(), tool_cases=(), results=(), json=(), tools=())


class Scripted(Asker):
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, ...]] = []

    def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        answer_format: JsonFormat | None = None,
    ) -> Answer:
        self.asked.append(tuple(message.content for message in messages))
        return self._answers.pop(0)


def _calls(*calls: tuple[str, str], ended: bool = True) -> Answer:
    return Answer("", [ToolCall(str(n), name, text) for n, (name, text) in enumerate(calls)], ended)


def _verdicts(held_out: CaseSet, *answers: Answer) -> dict[str, bool]:
    (judged,) = judge(Scripted(*answers), held_out, KINDS)
    return dict(judged.verdicts)


def test_a_help_answer_is_right_when_it_has_every_term_in_any_of_its_forms() -> None:
    case = HelpCase("How?", "port", ("--port", "8001|9000"))
    held_out = replace(NOTHING, help=(case,))
    assert _verdicts(held_out, Answer("Use --PORT 9000.", ended=True)) == {"help": True, "ended": True}
    assert _verdicts(held_out, Answer("Use --port.", ended=True))["help"] is False
    assert _verdicts(held_out, Answer("Use --port 8001 and", ended=False))["ended"] is False


def test_a_follow_up_is_asked_after_the_models_own_answers() -> None:
    held_out = replace(NOTHING, help=(HelpCase("And then?", "start", ("serve",), ("How do I install it?",)),))
    asker = Scripted(Answer("With pip.", ended=True), Answer("localphi serve", ended=True))
    (judged,) = judge(asker, held_out, KINDS)
    assert judged.verdicts == {"follow-up": True, "ended": True}
    assert asker.asked[1] == ("How do I install it?", "With pip.", "And then?")


@pytest.mark.parametrize(
    ("answer", "tool", "arguments"),
    [
        (_calls(("find_parking", '{"place": "Ulm", "hours": 2}')), True, True),
        (_calls(("find_parking", '{"hours": 2.0, "place": "Ulm"}')), True, True),
        (_calls(("find_parking", '{"place": "Ulm", "hours": "2"}')), True, False),
        (_calls(("find_parking", '{"place": "ulm", "hours": 2}')), True, False),
        (_calls(("find_parking", '{"place": "Ulm", "hours": 2, "covered": true}')), True, False),
        (_calls(("find_parking", '{"place": "Ulm"}')), True, False),
        (_calls(("order_taxi", "{}")), False, False),
        (_calls(("find_parking", '{"place": "Ulm", "hours": 2}'), ("order_taxi", "{}")), False, False),
        (Answer("I cannot.", ended=True), False, False),
    ],
)
def test_a_call_counts_when_its_tool_and_all_its_arguments_are_right(
    answer: Answer, tool: bool, arguments: bool
) -> None:
    case = ToolCase(
        (PARKING, TAXI), "Parking in Ulm, 2 hours", (("find_parking", {"place": "Ulm", "hours": 2}),)
    )
    held_out = replace(NOTHING, tool_cases=(case,))
    assert _verdicts(held_out, answer) == {"tool": tool, "arguments": arguments, "ended": True}


def test_true_is_not_one() -> None:
    case = ToolCase((PARKING,), "?", (("find_parking", {"place": "Ulm", "covered": True}),))
    answer = _calls(("find_parking", '{"place": "Ulm", "covered": 1}'))
    assert _verdicts(replace(NOTHING, tool_cases=(case,)), answer)["arguments"] is False


def test_parallel_calls_count_in_any_order_but_each_once() -> None:
    one, two = ("find_parking", {"place": "Ulm"}), ("find_parking", {"place": "Bern"})
    held_out = replace(NOTHING, tool_cases=(ToolCase((PARKING,), "?", (one, two)),))
    ulm, bern = ("find_parking", '{"place": "Ulm"}'), ("find_parking", '{"place": "Bern"}')
    assert _verdicts(held_out, _calls(bern, ulm))["arguments"] is True
    assert _verdicts(held_out, _calls(ulm, ulm))["arguments"] is False
    assert _verdicts(held_out, _calls(ulm))["tool"] is False


def test_where_no_tool_fits_any_call_is_wrong() -> None:
    held_out = replace(NOTHING, tool_cases=(ToolCase((TAXI,), "Sing!", ()),))
    assert _verdicts(held_out, Answer("I cannot.", ended=True)) == {
        "tool": True,
        "no-tool": True,
        "ended": True,
    }
    assert _verdicts(held_out, _calls(("order_taxi", "{}")))["no-tool"] is False


def test_a_result_must_be_told_in_words_with_every_value() -> None:
    case = ResultCase(PARKING, "Parking?", {"place": "Ulm"}, '{"space": "B12"}', ("B12",))
    held_out = replace(NOTHING, results=(case,))
    assert _verdicts(held_out, Answer("The space is b12.", ended=True))["result"] is True
    assert _verdicts(held_out, Answer("There is one.", ended=True))["result"] is False


@pytest.mark.parametrize(
    ("text", "fits", "right"),
    [
        ('{"name": "Ann", "age": 3}', True, True),
        ('{"name": "Bob", "age": 3}', True, False),
        ('{"name": "Ann", "age": 3.5}', False, False),
        ('{"name": "Ann"}', False, False),
        ('{"name": "Ann", "age": 3, "city": "Ulm"}', False, False),
        ('{"name": "Ann", "age"', False, False),
        ("[]", False, False),
    ],
)
def test_json_is_judged_by_its_schema_and_its_values(text: str, fits: bool, right: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    held_out = replace(NOTHING, json=(JsonCase(schema, "Ann is 3", {"name": "Ann", "age": 3}),))
    assert _verdicts(held_out, Answer(text, ended=True)) == {"json-valid": fits, "json": right, "ended": True}


def test_counts_and_table_show_what_is_reached() -> None:
    held_out = replace(NOTHING, help=(HelpCase("a", "x", ("yes",)), HelpCase("b", "x", ("yes",))))
    asker = Scripted(Answer("yes", ended=True), Answer("no", ended=True))
    counts = count(judge(asker, held_out, KINDS))
    assert counts == {"help": Count(1, 2), "ended": Count(2, 2)}
    lines = table([Column("demo", counts), Column("parent", {"help": Count(2, 2)})]).splitlines()
    assert lines[1].split() == ["help:", "the", "right", "fact", "1/2", "50.0%", "2/2", "100.0%", "90%", "no"]
    assert lines[2].split()[-4:] == ["100.0%", "-", "99%", "yes"]


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record("abc", "today", {"help": Count(1, 2)})
    assert load_record(tmp_path / "none.json") is None
    save_record(record, tmp_path / "record.json")
    assert load_record(tmp_path / "record.json") == record


def test_the_held_out_set_is_as_large_as_the_goals_want() -> None:
    held_out = load_cases()
    asked = [case for case in held_out.help if not case.before]
    outside = [case for case in asked if case.fact == "out-of-scope"]
    assert len(asked) - len(outside) >= 200
    assert len(outside) >= 50
    assert len(held_out.tool_cases) >= 300
    assert len(held_out.json) >= 50
    assert {len(case.tools) for case in held_out.tool_cases} == set(range(1, 9))
    assert {len(case.calls) for case in held_out.tool_cases} == {0, 1, 2}


def test_names_are_the_same_whatever_their_style() -> None:
    assert normalise_name("find_parking") == normalise_name("findParking") == normalise_name("Find-parking")


def test_evaluate_refuses_what_is_no_model(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", "nothing-here"], env={"LOCALPHI_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert "nothing-here" in result.output


def _own_cases(folder: Path, tools: str) -> list[str]:
    """The arguments that ask cases of one's own: one of each kind."""
    (folder / "help.toml").write_text('question = [{ ask = "Hello!", fact = "hello", terms = ["o"] }]')
    (folder / "tools.toml").write_text(tools)
    schema = '{ type = "object", properties = { age = { type = "integer" } }, required = ["age"] }'
    case = f'case = [{{ schema = {schema}, ask = "Ann is 3", expected = {{ age = 3 }} }}]'
    (folder / "json.toml").write_text(case)
    return ["evaluate", "--cases", str(folder), "--json"]


def test_cases_of_ones_own_are_asked_instead(tmp_path: Path) -> None:
    arguments = _own_cases(
        tmp_path, 'tool = []\ncase = [{ tools = [], ask = "Sing!", calls = [] }]\nresult = []'
    )
    result = CliRunner().invoke(main, arguments, env={"LOCALPHI_HOME": str(tmp_path)})
    assert result.exit_code == 0, result.output
    (counts,) = json.loads(result.stdout).values()
    assert {name: one["asked"] for name, one in counts.items()} == {
        "help": 1, "tool": 1, "no-tool": 1, "json-valid": 1, "json": 1, "ended": 3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("tool = [", "tools.toml"),
        ("tool = []\nresult = []", "'case'"),
        (
            'tool = []\ncase = [{ tools = [], ask = "Sing!", calls = [{ name = "sing", arguments = {} }] }]',
            "sing",
        ),
    ],
)
def test_cases_that_cannot_be_read_are_named(tmp_path: Path, tools: str, said: str) -> None:
    arguments = _own_cases(tmp_path, tools)
    result = CliRunner().invoke(main, arguments, env={"LOCALPHI_HOME": str(tmp_path)})
    assert result.exit_code == 2
    assert "--cases" in result.output
    assert said in result.output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_bundled_model_is_as_good_as_it_says(tmp_path: Path) -> None:
    """The README's command, bare. The figures of the log are held, less what other processors may change."""
    result = CliRunner().invoke(main, ["evaluate", "--json"], env={"LOCALPHI_HOME": str(tmp_path)})
    assert result.exit_code == 0, result.output
    columns = json.loads(result.stdout)
    scored = {name: Count(**entry) for name, entry in columns["localphi-demo"].items()}
    assert scored.keys() == MEASURES.keys()
    assert sum(scored[name].asked for name in ("help", "follow-up", "out-of-scope")) == len(load_cases().help)
    assert scored["ended"].asked == number_of_cases(load_cases(), KINDS)
    for name, share in LOGGED.items():
        assert scored[name].share >= share - 0.03, name
    record = load_record()
    belongs = record is not None and record.revision == load_manifest(DEMO).origin["revision"]
    assert set(columns) == {"localphi-demo"} | ({"fp32 parent"} if belongs else set())


# What `localphi evaluate` printed for the committed weights; LOG.md has the table. Left out are the values of
# arguments and JSON: too few are right to hold them.
LOGGED = {
    "help": 0.692,
    "follow-up": 0.525,
    "out-of-scope": 0.929,
    "tool": 0.207,
    "no-tool": 0.815,
    "result": 0.75,
    "json-valid": 0.194,
    "ended": 0.914,
}
