"""The graph for WebNN says what the graph says that it was made of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from localphi.models.manifest import load_manifest
from localphi.toolchain.graphs.commands import main
from localphi.toolchain.graphs.webnn import LAST_POSITION, WEBNN_NAME, webnn_proto
from serving import DEMO

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'toolchain')")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'toolchain')")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webnn") / "demo"
    shutil.copytree(DEMO, folder)
    done = CliRunner().invoke(main, ["webnn", str(folder)])
    assert done.exit_code == 0, done.output
    assert "up to 1024 tokens" in done.output
    return folder


def test_the_manifest_lists_what_a_browser_needs(folder: Path) -> None:
    variant = load_manifest(folder).variants["webnn"]
    names = {"genai_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert set(variant.files) == names | {WEBNN_NAME, f"{WEBNN_NAME}.data"}
    assert variant.context_length == 1024
    assert variant.canary == load_manifest(DEMO).variants["wasm"].canary


def test_greedy_ids_are_those_of_the_canary_whatever_pads_the_prompt(folder: Path) -> None:
    session = ort.InferenceSession(folder / WEBNN_NAME)
    empty = {
        node.name: np.zeros((1, node.shape[1], 0, 64), np.float32)
        for node in session.get_inputs()
        if node.name.startswith("past")
    }
    canary = load_manifest(folder).variants["webnn"].canary
    assert canary is not None
    ids = list(canary.prompt)
    for expected in canary.expected:
        padded = np.asarray([ids + [7] * 5])
        given = {"input_ids": padded, "attention_mask": np.ones_like(padded), **empty}
        (logits,) = session.run(["logits"], {**given, LAST_POSITION: np.asarray([len(ids) - 1])})
        assert logits.shape[:2] == (1, 1)
        assert int(logits.argmax()) == expected
        ids.append(expected)


def test_no_unsigned_four_bits_are_left(folder: Path) -> None:
    proto = onnx.load(folder / WEBNN_NAME, load_external_data=False)
    kinds = {tensor.data_type for tensor in proto.graph.initializer}
    assert onnx.TensorProto.INT4 in kinds
    assert not {onnx.TensorProto.UINT4, onnx.TensorProto.UINT8} & kinds
    assert "MatMulNBits" not in {node.op_type for node in proto.graph.node}


def _layer(bits: int, block: int, zero_points: bool, random: Any) -> Any:
    """A model of one MatMulNBits, of 48 inputs and 5 outputs: the last block is not full."""
    rows, columns = 48, 5
    blocks = -(-rows // block)
    data = random.integers(0, 256, (columns, blocks, block * bits // 8), np.uint8)
    weights = {"packed": data, "scales": random.random((columns, blocks), np.float32).reshape(-1)}
    if zero_points:
        weights["zeros"] = random.integers(100, 140, (columns, -(-blocks * bits // 8)), np.uint8)
    node = onnx.helper.make_node(
        *("MatMulNBits", ["hidden", *weights], ["logits"], "/head"),
        **{"domain": "com.microsoft", "K": rows, "N": columns, "bits": bits, "block_size": block},
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        *([node], "layer", [value("hidden", 1, ["b", "t", rows])], [value("logits", 1, ["b", "t", columns])]),
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    versions = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=versions, ir_version=10)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [16, 32])
@pytest.mark.parametrize("zero_points", [False, True])
def test_a_layer_computes_the_same(bits: int, block: int, zero_points: bool) -> None:
    random = np.random.default_rng(5)
    proto = _layer(bits, block, zero_points, random)
    hidden = random.random((1, 3, 48), np.float32)
    (wanted,) = ort.InferenceSession(proto.SerializeToString()).run(None, {"hidden": hidden})
    plain = ort.SessionOptions()  # else both nodes become the MatMulNBits again, of less precision
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(webnn_proto(proto).SerializeToString(), plain)
    (got,) = session.run(None, {"hidden": hidden, LAST_POSITION: np.asarray([1])})
    np.testing.assert_allclose(got, wanted[:, 1:2], rtol=1e-4, atol=1e-3)
