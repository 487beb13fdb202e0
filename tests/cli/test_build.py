from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from localphi.cli import main
from localphi.models.store import ModelStore


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["build", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_help_is_for_a_person_who_has_never_exported_a_model() -> None:
    code, output = _run("--help")
    assert code == 0
    for word in ("config.json", "--random-weights phi-3-mini-4k", "localphi serve --model", "[toolchain]"):
        assert word in output
    assert "quantize" in output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--out", "x"), "Give either the FOLDER of a checkpoint or --random-weights SHAPE"),
        (("hf", "--random-weights", "phi-2", "--out", "x"), "Give either"),
        (("hf",), "Missing option '--out'"),
        (
            ("--random-weights", "phi-9", "--out", "x"),
            "There is no shape 'phi-9'. There are: phi-2, phi-3-mini-4k",
        ),
        (
            ("hf", "--for", "toaster", "--out", "x"),
            "'toaster' is no device. Give one or several of server-cpu",
        ),
        (("hf", "--for", "server-cpu,server-cuda", "--out", "x"), "need a folder each"),
        (("hf", "--for", "webgpu-f16", "--precision", "fp32", "--out", "x"), "it takes int4, int8, fp16"),
        (("hf", "--block-size", "7", "--out", "x"), "'7' is not one of"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'toolchain')")
    monkeypatch.chdir(tmp_path)
    code, output = _run(*arguments)
    assert code != 0
    assert told in " ".join(output.split())
    assert list(tmp_path.iterdir()) == []


def test_without_the_tool_chain_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localphi.toolchain.build.processes.find_spec", lambda _: None)
    code, output = _run("--random-weights", "phi-2", "--out", str(tmp_path / "out"))
    assert code == 1
    assert "pip install 'localphi[toolchain]'" in output
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_becomes_a_model_that_can_be_served(tmp_path: Path) -> None:
    for library in ("torch", "transformers", "onnx_ir"):
        pytest.importorskip(library, reason=f"{library} is not installed (extra 'toolchain')")
    from tiny_checkpoints import TINY, building_here, write_checkpoint

    checkpoint = write_checkpoint(tmp_path / "hf", TINY["phi-4"])
    out = tmp_path / "store" / "models" / "mine"
    out.parent.mkdir(parents=True)
    with building_here():
        code, output = _run(
            str(checkpoint), "--for", "server-cpu,wasm", "--out", str(out), "--license", "MIT"
        )
    assert code == 0, output
    assert "building model.onnx for server-cpu" in output
    assert f"localphi serve --model {out}" in output
    model = ModelStore(tmp_path / "store").get("hf")
    assert (model.manifest.license, model.manifest.family) == ("MIT", "phi-4")
    assert model.manifest.prompt_format.tool_call == ("<|tool_call|>", "<|/tool_call|>")
