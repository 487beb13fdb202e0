"""The page that compares the methods."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("onnx", reason="onnx is not installed (extra 'quantize')")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'toolchain')")

from float_phi import float_phi
from localphi.toolchain.quantize import report
from localphi.toolchain.quantize.recipe import Recipe


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("rtn-32", "rtn-32-symmetric", "awq-32", "awq-32-no-correct", "mixed")
    recipes = {name: Recipe("rtn") for name in names}
    recipes |= {name: Recipe("rtn", bits=8) for name in ("int8", "int8-awq")}
    monkeypatch.setattr(report, "RECIPES", recipes)
    monkeypatch.setattr(report, "_ROWS", 3)


@pytest.mark.usefixtures("quick")
def test_the_page_has_every_model_and_says_what_was_reached(tmp_path: Path) -> None:
    parent, work, docs = tmp_path / "fp32", tmp_path / "work", tmp_path / "docs"
    parent.mkdir()
    float_phi(parent)
    arguments = [str(work), "--parent", str(parent), "--docs", str(docs)]
    result = CliRunner().invoke(report.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    page = (docs / "quantization.md").read_text(encoding="utf-8")
    for name in ("fp32", *report.RECIPES):
        assert f"| {name} |" in page
    # Those of 4 bits are the same model here, so none is better than another.
    assert "100% of RTN in the same format, 100% of symmetric RTN" in page
    assert page.count("**not reached**") >= 2
    assert (docs / "quantization.png").stat().st_size > 1000

    float_phi(parent, seed=1)
    (parent / "localphi.json").write_text(
        (parent / "localphi.json").read_text(encoding="utf-8").replace('"revision": "0"', '"revision": "1"'),
        encoding="utf-8",
    )
    refused = CliRunner().invoke(report.main, arguments)
    assert refused.exit_code == 2
    assert "another parent" in refused.output
