"""Graphs of every form that the builder and `localphi quantize` write, in OpenVINO: the same logits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from float_phi import FloatShape, float_phi
from localphi.cli import main
from localphi.config import disable_telemetry
from localphi.errors import CannotConvert
from localphi.models.manifest import OPENVINO_DEVICE, load_manifest
from serving import DEMO

disable_telemetry()

ov = pytest.importorskip("openvino", reason="OpenVINO is not installed (extra 'openvino')")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'openvino')")

from localphi.toolchain.openvino.convert import EXACT, FAST, convert  # noqa: E402  telemetry goes off first

IDS = np.array([[70, 81, 92, 103, 66, 77, 88, 99, 110]], np.int64)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path / "home"))


def _openvino_logits(folder: Path) -> Iterator[Any]:
    """Of the last position: after a prompt, then after each further token. (V)"""
    compiled = ov.Core().compile_model(str(folder / "openvino" / "openvino_model.xml"), "CPU", EXACT)
    request = compiled.create_infer_request()
    for start, end in ((0, 6), (6, 7), (7, 9)):
        feed = {
            "input_ids": IDS[:, start:end],
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        (logits,) = request.infer(feed).values()
        yield np.array(logits)[0, -1]


def _ort_logits(folder: Path) -> Iterator[Any]:
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    past = {
        one.name: np.zeros((1, one.shape[1], 0, one.shape[3]), np.float32)
        for one in session.get_inputs()
        if one.name.startswith("past")
    }
    names = [one.name for one in session.get_outputs()]
    for start, end in ((0, 6), (6, 7), (7, 9)):
        feed = {"input_ids": IDS[:, start:end], "attention_mask": np.ones((1, end), np.int64)}
        out = dict(zip(names, session.run(names, {**feed, **past}), strict=True))
        past = {name: out[name.replace("past_key_values", "present")] for name in past}
        yield out["logits"][0, -1]


def _assert_equal(folder: Path) -> None:
    for mine, theirs in zip(_openvino_logits(folder), _ort_logits(folder), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(
    "shape",
    [
        FloatShape(),
        FloatShape(fused=True, pruned=False),
        FloatShape(kv_heads=4),
        FloatShape(heads=4, kv_heads=1),
    ],
    ids=["pruned", "fused", "mha", "mqa"],
)
def test_float_graphs_compute_the_same(tmp_path: Path, shape: FloatShape) -> None:
    float_phi(tmp_path, shape)
    convert(tmp_path)
    _assert_equal(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ("--symmetric",),
        ("--asymmetric", "--keep", "lm_head:8"),
        ("--bits", "8", "--symmetric"),
        ("--bits", "8", "--asymmetric", "--group-size", "64"),
    ],
    ids=" ".join,
)
def test_quantized_weights_are_taken_over_as_they_are(tmp_path: Path, options: tuple[str, ...]) -> None:
    parent, folder = tmp_path / "fp32", tmp_path / "quantized"
    parent.mkdir()
    float_phi(parent)
    made = ["quantize", str(parent), "--out", str(folder), "--method", "rtn", "--threads", "1", *options]
    done = CliRunner().invoke(main, made)
    assert done.exit_code == 0, done.output
    convert(folder)
    _assert_equal(folder)


def test_a_graph_that_rounds_activations_leaves_rounding_to_openvino(tmp_path: Path) -> None:
    parent, folder = tmp_path / "fp32", tmp_path / "level-4"
    parent.mkdir()
    float_phi(parent)
    made = ["quantize", str(parent), "--out", str(folder), "--method", "rtn", "--accuracy-level", "4"]
    assert CliRunner().invoke(main, [*made, "--threads", "1"]).exit_code == 0
    variant = convert(folder).variants[OPENVINO_DEVICE]
    assert variant.canary is None
    assert '"u8"' in (folder / "openvino" / "properties.json").read_text()
    assert FAST == {"KV_CACHE_PRECISION": "u8"}


def test_an_unknown_node_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "demo")
    path = tmp_path / "demo" / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Gelu"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CannotConvert, match="a node Gelu"):
        convert(tmp_path / "demo")
    assert not [*(tmp_path / "demo").glob("*openvino*")]
    assert OPENVINO_DEVICE not in load_manifest(tmp_path / "demo").variants


def test_a_graph_with_a_sliding_window_is_used_up_to_its_window(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "demo")
    path = tmp_path / "demo" / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "GroupQueryAttention")
    next(attribute for attribute in node.attribute if attribute.name == "local_window_size").i = 262
    path.write_bytes(model.SerializeToString())
    assert convert(tmp_path / "demo").variants[OPENVINO_DEVICE].context_length == 262


def test_the_command_copies_what_is_not_ours_to_change(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    done = CliRunner().invoke(main, ["convert", "localphi-demo"])
    assert (done.exit_code, "give --out" in done.output) == (1, True)
    done = CliRunner().invoke(main, ["convert", "localphi-demo", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"localphi serve --backend openvino --model {out}" in done.output
    assert OPENVINO_DEVICE in load_manifest(out).variants
    done = CliRunner().invoke(main, ["convert", "localphi-demo", "--out", str(out)])
    assert (done.exit_code, "exists already" in done.output) == (1, True)
