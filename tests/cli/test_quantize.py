from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from float_phi import float_phi
from localphi.cli import main
from serving import DEMO


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path / "home"))


@pytest.fixture
def parent(tmp_path: Path) -> str:
    folder = tmp_path / "fp32"
    folder.mkdir()
    float_phi(folder)
    return str(folder)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_model_is_quantized_and_compared_with_its_parent(parent: str, tmp_path: Path) -> None:
    out = str(tmp_path / "small")
    code, output = _run(
        "quantize", parent, "--out", out, "--conversations", "6", "--keep", "lm_head:8", "--threads", "1"
    )
    assert code == 0, output
    assert "10 layers with 4 bits, 1 layer with 8 bits" in output
    assert "AWQ's scales took" in output
    assert f"localphi serve --model {out}" in output
    text = tmp_path / "text.txt"
    text.write_text("What is localphi? It runs Phi. " * 40, encoding="utf-8")
    code, output = _run("evaluate", out, "--against", parent, "--text", str(text))
    assert code == 0, output
    assert [line.split()[0] for line in output.splitlines()[2:4]] == ["small-fp32", "small-awq-int4-g32"]
    code, output = _run("evaluate", out, "--against", parent, "--text", str(text), "--json")
    first, second = json.loads(output)
    assert first["everything"]["kl"] == 0
    assert 0 < second["everything"]["kl"] < 1
    assert second["size_bytes"] < first["size_bytes"]


def test_bad_input_is_one_sentence_and_leaves_nothing(parent: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for arguments, told in (
        ((parent, "--keep", "nothing:8"), "No layer matches 'nothing'"),
        ((parent, "--keep", "lm_head"), "write lm_head:8"),
        ((parent, "--group-size", "128"), "Use --group-size 64"),
        ((parent, "--ratio", "0.5", "--bits", "8"), "wants --bits 4"),
        ((parent, "--id", "My Model"), "Give another --id"),
        ((str(DEMO),), "already quantized"),
        ((str(tmp_path / "gone"),), "gone"),
    ):
        code, output = _run("quantize", *arguments, "--out", out)
        assert code != 0
        assert told in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32"]


def test_a_missing_library_is_told_with_its_extra(
    parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, output = _run("quantize", parent, "--out", str(tmp_path / "out"))
    assert code == 1
    assert "pip install 'localphi[quantize]'" in output


def test_a_model_of_another_vocabulary_is_not_compared(parent: str) -> None:
    code, output = _run("evaluate", "localphi-demo", "--against", parent)
    assert code == 1
    assert "not the same model" in output


def test_comparing_asks_no_cases(parent: str) -> None:
    code, output = _run("evaluate", "--against", parent, "--only", "help")
    assert code == 2
    assert "--against" in output
    assert _run("evaluate", "--text", __file__)[0] == 2


def test_the_help_says_where_to_start() -> None:
    code, output = _run("quantize", "--help")
    assert code == 0
    assert "Start with the defaults" in output
