"""Quantizing small float32 models: the numbers, the scales of AWQ, the folder that comes out, bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localphi.config import disable_telemetry
from localphi.errors import CannotQuantize, InvalidRequest, ModelFolderInvalid
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelFolder, find_damage
from serving import DEMO

pytest.importorskip("onnx", reason="onnx is not installed (extra 'quantize')")
disable_telemetry()

from float_phi import SMALL, FloatShape, float_phi  # noqa: E402
from localphi.engine.generator import GeneratorBackend  # noqa: E402  telemetry goes off first
from localphi.toolchain.demo.settings import USER  # noqa: E402
from localphi.toolchain.evaluate.compare import as_json, compare, table  # noqa: E402
from localphi.toolchain.quantize import layers as layers_module  # noqa: E402
from localphi.toolchain.quantize.awq import Inputs, search_scales  # noqa: E402
from localphi.toolchain.quantize.calibration import (  # noqa: E402
    Part,
    Row,
    conversation_rows,
    conversations,
    layer_inputs,
    part_of,
    text_rows,
)
from localphi.toolchain.quantize.floatgraph import FloatGraph, with_all_positions  # noqa: E402
from localphi.toolchain.quantize.folder import continued, write_graph  # noqa: E402
from localphi.toolchain.quantize.folds import ColumnSource, NormSource, find_sites  # noqa: E402
from localphi.toolchain.quantize.grid import Floats, Grid, Quantized  # noqa: E402
from localphi.toolchain.quantize.halfquadratic import half_quadratic  # noqa: E402
from localphi.toolchain.quantize.layers import LayerQuantizer, Work  # noqa: E402
from localphi.toolchain.quantize.recipe import Recipe, most_sensitive, parse_keep  # noqa: E402
from localphi.toolchain.quantize.rounding import corrected, group_moments, nearest, nearest_weight, searched  # noqa: E402
from localphi.toolchain.quantize.run import quantize, source_model  # noqa: E402
from localphi.toolchain.quantize.runner import Runner  # noqa: E402

FEW = 9  # conversations
PARTS: tuple[Part, Part] = ("calibration", "evaluation")
GRIDS = [Grid(bits, 32, symmetric) for bits in (4, 8) for symmetric in (True, False)]


def _named(grid: Grid) -> str:
    return f"int{grid.bits}-{'symmetric' if grid.symmetric else 'asymmetric'}"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A small float32 model with outlier channels."""
    return _float_model(tmp_path_factory.mktemp("fp32"), SMALL)


def _float_model(folder: Path, shape: FloatShape) -> ModelFolder:
    return ModelFolder(folder, float_phi(folder, shape), bundled=False)


def _weight(rows: int = 96, columns: int = 40) -> Floats:
    random = np.random.default_rng(1)
    weight = (random.standard_t(5, (rows, columns)) * 0.1).astype(np.float32)
    weight[:, 3] = 0
    weight[:32, 4] = np.abs(weight[:32, 4])  # a group of one sign
    weight[:32, 5] = 0.25  # a group of one value
    return weight


def _rows(parent: ModelFolder, count: int = FEW) -> list[Row]:
    return conversation_rows(parent.path, parent.manifest.prompt_format, "evaluation", count)


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("grid", GRIDS, ids=_named)
def test_round_to_nearest_gives_onnxruntimes_own_numbers(grid: Grid) -> None:
    from onnxruntime.capi import _pybind_state as ort

    weight = _weight()
    rows, columns = weight.shape
    groups = rows // grid.group_size
    packed = np.zeros((columns, groups, grid.group_size * grid.bits // 8), np.uint8)
    scales = np.zeros((columns, groups), np.float32)
    zero_points = np.zeros((columns, -(-groups * grid.bits // 8)), np.uint8)
    function = ort.quantize_matmul_4bits if grid.bits == 4 else ort.quantize_matmul_8bits
    function(packed, weight, scales, zero_points, grid.group_size, columns, rows, grid.symmetric)

    tensors = nearest(weight, grid).tensors()
    np.testing.assert_array_equal(nearest_weight(weight, grid), nearest(weight, grid).weight())
    assert np.array_equal(tensors["scales"], scales)
    assert np.array_equal(tensors["weight"], packed)
    assert ("zero_points" in tensors) is not grid.symmetric
    if not grid.symmetric:
        assert np.array_equal(tensors["zero_points"], zero_points)


@pytest.mark.parametrize("grid", GRIDS, ids=_named)
def test_matmulnbits_computes_with_the_weight_that_is_reported(grid: Grid) -> None:
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    quantized = searched(_weight(), grid)
    rows, columns = quantized.shape
    tensors = [numpy_helper.from_array(value, name) for name, value in quantized.tensors().items()]
    node = helper.make_node(
        "MatMulNBits",
        ["x", *(tensor.name for tensor in tensors)],
        ["y"],
        domain="com.microsoft",
        K=rows,
        N=columns,
        bits=grid.bits,
        block_size=grid.group_size,
    )
    info = helper.make_tensor_value_info
    x, y = info("x", TensorProto.FLOAT, ["t", rows]), info("y", TensorProto.FLOAT, ["t", columns])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "one", [x], [y], tensors)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = np.random.default_rng(2).standard_normal((5, rows)).astype(np.float32)
    (found,) = session.run(None, {"x": inputs})
    np.testing.assert_allclose(found, inputs @ quantized.weight(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS, ids=_named)
def test_a_search_comes_closer_than_rounding(grid: Grid) -> None:
    random = np.random.default_rng(3)
    weight = random.standard_t(5, (96, 40)).astype(np.float32)
    mixing = np.eye(96) + 0.2 * random.standard_normal((96, 96))
    inputs = (random.standard_normal((300, 96)) @ mixing * np.exp(random.standard_normal(96))).astype(
        np.float32
    )

    def output_error(quantized: Quantized) -> float:
        return float(np.linalg.norm(inputs @ quantized.weight() - inputs @ weight))

    def error(quantized: Quantized) -> float:
        return float(np.linalg.norm(quantized.weight() - weight))

    rounded = nearest(weight, grid)
    assert error(searched(weight, grid)) < 0.99 * error(rounded)
    moments = _inputs(inputs).moments
    by_output = searched(weight, grid, group_moments(moments, grid.group_size))
    assert output_error(by_output) < 0.9 * output_error(rounded)
    assert output_error(corrected(weight, grid, moments)) < 0.9 * output_error(by_output)
    assert output_error(corrected(weight, grid, moments, search=False)) < 0.9 * output_error(rounded)


@pytest.mark.parametrize("grid", GRIDS, ids=_named)
def test_half_quadratic_grids_serve_most_weights_and_none_worse_than_rounding(grid: Grid) -> None:
    weight = np.random.default_rng(4).standard_t(4, (4 * grid.group_size, 40)).astype(np.float32)

    def errors(quantized: Quantized) -> Floats:
        powers = np.abs(quantized.weight() - weight) ** np.float32(0.7)
        sums: Floats = powers.reshape(4, grid.group_size, 40).sum(1)
        return sums

    rounded, found = errors(nearest(weight, grid)), errors(half_quadratic(weight, grid))
    assert np.all(found <= rounded * 1.0001)
    assert found.sum() < 0.995 * rounded.sum()


@pytest.mark.parametrize("choose", [searched, half_quadratic])
def test_an_empty_and_a_constant_group_survive_the_search(
    choose: Callable[[Floats, Grid], Quantized],
) -> None:
    for grid in GRIDS:
        found = choose(_weight(), grid).weight()
        assert np.all(np.isfinite(found))
        assert np.all(found[:, 3] == 0)
        np.testing.assert_allclose(found[:32, 5], 0.25, rtol=1e-5)


def test_a_search_in_chunks_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(_weight(), GRIDS[1])
    monkeypatch.setattr("localphi.toolchain.quantize.rounding._CHUNK_NUMBERS", 96 * 7)
    assert np.array_equal(searched(_weight(), GRIDS[1]).codes, whole.codes)


def _inputs(values: Floats) -> Inputs:
    inputs = Inputs(values.shape[1])
    for part in np.array_split(values, 3):
        inputs.add(part)
    return inputs


def test_moments_of_the_inputs_give_every_squared_output() -> None:
    random = np.random.default_rng(4)
    raw = random.standard_normal((500, 64)).astype(np.float32)
    weight = random.standard_normal((64, 9)).astype(np.float32)
    inputs = _inputs(raw)
    assert inputs.squared_output(weight) == pytest.approx(np.square(raw @ weight).sum(), rel=1e-4)
    np.testing.assert_allclose(inputs.sizes, np.abs(raw).mean(0), rtol=1e-5)
    rows = np.arange(1, 65, dtype=np.float32)
    second = (raw / rows)[:, 32:]
    blocks = group_moments(inputs.scaled_moments(rows), 32)
    np.testing.assert_allclose(blocks[1], second.T @ second, rtol=1e-3, atol=1e-3)


def test_scales_protect_the_channels_with_large_inputs() -> None:
    random = np.random.default_rng(5)
    weight = random.standard_normal((64, 48)).astype(np.float32)
    inputs = random.standard_normal((200, 64)).astype(np.float32)
    inputs[:, [7, 40]] *= 50
    found = search_scales(_inputs(inputs), [weight], Grid(4, 32, False), np.arange(64), 64)
    assert found.error < 0.5 * found.error_unscaled
    assert set(np.argsort(found.scales)[-2:]) == {7, 40}


# ---------------------------------------------------------------- the graph


def test_layers_are_named_and_their_scales_have_a_place(parent: ModelFolder) -> None:
    graph = FloatGraph(parent.path)
    assert [layer.name for layer in graph.layers[:3]] == [
        "layers.0.attn.qkv_proj",
        "layers.0.attn.o_proj",
        "layers.0.mlp.gate_proj",
    ]
    by_layer = {layer.name: site for site in find_sites(graph) for layer in site.layers}
    assert set(by_layer) == {layer.name for layer in graph.layers}
    for name in ("layers.1.attn.qkv_proj", "layers.1.mlp.up_proj", "lm_head"):
        assert isinstance(by_layer[name].source, NormSource)
    assert by_layer["layers.0.mlp.gate_proj"] is by_layer["layers.0.mlp.up_proj"]
    assert by_layer["layers.0.mlp.down_proj"].source == ColumnSource("layers.0.mlp.up_proj", 0)
    value_starts = (SMALL.heads + SMALL.kv_heads) * SMALL.head_size
    output = by_layer["layers.0.attn.o_proj"]
    assert output.source == ColumnSource("layers.0.attn.qkv_proj", value_starts)
    assert output.width == SMALL.kv_heads * SMALL.head_size
    # Heads 0 and 1 read the first v, 2 and 3 the second.
    assert [int(output.spread[head * SMALL.head_size]) for head in range(4)] == [0, 0, 16, 16]


def test_a_fused_mlp_is_scaled_in_its_second_half(tmp_path: Path) -> None:
    model = _float_model(tmp_path, FloatShape(layers=1, fused=True))
    site = next(s for s in find_sites(FloatGraph(model.path)) if s.layers[0].name.endswith("down_proj"))
    assert site.source == ColumnSource("layers.0.mlp.gate_up_proj", SMALL.intermediate)


@pytest.mark.parametrize("fused", [False, True], ids=["two matrices", "one matrix"])
def test_folding_scales_changes_no_output(tmp_path: Path, fused: bool) -> None:
    source, scaled = tmp_path / "fp32", tmp_path / "scaled"
    source.mkdir()
    model = _float_model(source, FloatShape(fused=fused))
    graph = FloatGraph(source)
    rows = _rows(model)
    worker = LayerQuantizer(graph, Recipe(), Work(tmp_path / "work", "key"), rows, 1)
    worker.run(lambda *_: None)
    assert len(worker.scales.rows) >= 6
    assert worker.scales.columns
    shutil.copytree(source, scaled)
    write_graph(graph, scaled, lambda _: None, worker.scales)

    for row in rows[:3]:
        before, after = (_logits(folder, row) for folder in (source, scaled))
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(_logits(scaled, rows[0]), _logits(source, rows[0]))


def _logits(folder: Path, row: Row) -> Any:
    import onnx

    proto = onnx.load(folder / "model.onnx", load_external_data=False)
    return Runner(with_all_positions(proto), folder, 1).run(row.ids, ["logits"])[0][0]


def test_all_positions_end_with_the_one_that_generation_sees(parent: ModelFolder) -> None:
    import onnx

    proto = onnx.load(parent.path / "model.onnx", load_external_data=False)
    (row,) = _rows(parent, 1)
    (last,) = Runner(proto, parent.path, 1).run(row.ids, ["logits"])
    every = _logits(parent.path, row)
    assert last.shape == (1, 1, SMALL.vocabulary)
    assert every.shape == (len(row.ids), SMALL.vocabulary)
    np.testing.assert_allclose(every[-1], last[0, 0], rtol=1e-4, atol=1e-4)


def test_what_layers_see_is_gathered_over_all_rows(parent: ModelFolder) -> None:
    graph = FloatGraph(parent.path)
    rows = _rows(parent, 3)
    name = graph.layers[1].input
    runner = Runner(graph.proto, parent.path, 1, watched=[name])
    seen = np.concatenate([runner.run(row.ids, [name])[0][0] for row in rows])
    found = layer_inputs(runner, rows, {name: SMALL.hidden})[name]
    np.testing.assert_allclose(found.moments, seen.T @ seen, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.sizes, np.abs(seen).mean(0), rtol=1e-4)


# ---------------------------------------------------------------- the text


def test_calibration_and_evaluation_share_no_question() -> None:
    drawn = {part: list(conversations(part, 150)) for part in PARTS}
    assert drawn["evaluation"] == list(conversations("evaluation", 150))
    calibration, evaluation = (
        {text.lower() for turns in drawn[part] for role, text in turns if role == USER} for part in PARTS
    )
    assert min(len(calibration), len(evaluation)) > 150
    assert not calibration & evaluation
    assert part_of("What is AWQ?") == part_of("what is awq?")


def test_the_answers_of_a_conversation_are_marked(parent: ModelFolder) -> None:
    (row,) = _rows(parent, 1)
    added = {token: 256 + number for number, token in enumerate(parent.manifest.prompt_format.control)}
    opened = row.ids.index(added["<|assistant|>"])
    closed = row.ids.index(added["<|end|>"], opened)
    assert not row.answers[opened]
    assert all(row.answers[opened + 1 : closed + 1])
    assert not any(row.answers[:opened])


def test_a_text_file_can_be_read_instead(parent: ModelFolder, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("x" * 1300, encoding="utf-8")
    assert [len(row.ids) for row in text_rows(parent.path, path, 10)] == [512, 512, 276]
    assert len(text_rows(parent.path, path, 1)) == 1
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="cannot be read as UTF-8"):
        text_rows(parent.path, path, 1)
    path.write_text("", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="no text"):
        text_rows(parent.path, path, 1)


# ---------------------------------------------------------------- the folder


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("rtn"),
        Recipe("rtn", symmetric=True, group_size=64),
        Recipe("rtn", bits=8),
        Recipe("hqq"),
        Recipe("kquant", keep=(("lm_head", 8), ("layers.0.mlp", 32))),
        Recipe("awq", conversations=FEW, keep=(("layers.1.attn.qkv_proj", 32),)),
        Recipe("awq", conversations=FEW, ratio=0.7, clip=False, accuracy_level=4),
    ],
    ids=lambda recipe: recipe.tag,
)
def test_the_folder_is_whole_and_answers(parent: ModelFolder, tmp_path: Path, recipe: Recipe) -> None:
    out = tmp_path / "out"
    outcome = quantize(parent, out, recipe, 1)
    manifest = load_manifest(out)
    assert manifest == outcome.manifest
    assert manifest.id == f"small-{recipe.tag}"
    assert manifest.origin["parent"] == "small-fp32 0"
    assert not find_damage(ModelFolder(out, manifest, bundled=False))
    assert sorted(path.name for path in out.iterdir()) == sorted((*manifest.files, "localphi.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert set(manifest.variants) == {"server-cpu", "wasm"}
    canary = manifest.variants["server-cpu"].canary
    assert canary is not None
    assert canary.expected == continued(out, canary.prompt, 8)
    assert len(canary.expected) > 0
    assert manifest.variants["wasm"].canary == (None if recipe.accuracy_level == 4 else canary)
    backend = GeneratorBackend(out, manifest, threads=1, max_active=1, kv_budget_bytes=2**28)
    assert backend is not None

    import onnx

    nodes = onnx.load(out / "model.onnx", load_external_data=False).graph.node
    found = {node.name: node for node in nodes if node.op_type == "MatMulNBits"}
    wanted = {name: bits for name, bits in outcome.bits.items() if bits != 32}
    assert len(found) == len(wanted)
    assert sum(node.op_type == "MatMul" for node in nodes) == len(outcome.bits) - len(wanted)
    levels = [a.i for node in found.values() for a in node.attribute if a.name == "accuracy_level"]
    assert levels == ([4] * len(found) if recipe.accuracy_level else [])


def test_better_methods_stay_closer_to_the_parent(parent: ModelFolder, tmp_path: Path) -> None:
    recipes = {
        "rtn": Recipe("rtn"),
        "awq": Recipe("awq", conversations=24),
        "mixed": Recipe("awq", conversations=24, ratio=0.6),
        "int8": Recipe("rtn", bits=8),
    }
    for name, recipe in recipes.items():
        quantize(parent, tmp_path / name, recipe, 1, new_id=name)
    results = compare(parent.path, [tmp_path / name for name in recipes], _rows(parent, 12), 1)
    kl = {result.name: result.everything.kl for result in results}
    assert kl["small-fp32"] == 0
    assert kl["awq"] < 0.6 * kl["rtn"]
    assert kl["int8"] < kl["mixed"] < kl["awq"]
    sizes = {result.name: result.size_bytes for result in results}
    assert sizes["rtn"] < sizes["mixed"] < sizes["int8"] < sizes["small-fp32"]
    assert results[0].everything.agreement == 1
    assert results[-1].everything.agreement > 0.95
    assert "perplexity" in table(results)
    assert as_json(results).count('"name"') == 5


def test_a_killed_run_goes_on_where_it_was(
    parent: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("awq", conversations=FEW, ratio=0.8)
    whole = quantize(parent, tmp_path / "whole", recipe, 1).manifest
    calls = _counted(monkeypatch, "search_scales")

    def stop(what: str, done: int, total: int) -> None:
        if what == "layers" and done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(parent, tmp_path / "out", recipe, 1, progress=stop)
    assert not (tmp_path / "out").exists()
    first = len(calls)
    assert first > 1
    resumed = quantize(parent, tmp_path / "out", recipe, 1).manifest
    assert len(calls) == len(find_sites(FloatGraph(parent.path)))
    assert resumed.files == whole.files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[None]:
    calls: list[None] = []
    real: Callable[..., Any] = getattr(layers_module, name)

    def counting(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return real(*arguments, **named)

    monkeypatch.setattr(layers_module, name, counting)
    return calls


def test_results_of_another_recipe_are_not_taken(tmp_path: Path) -> None:
    work = Work(tmp_path / "work", "one")
    work.save("layer-0-4", codes=np.zeros(3))
    assert Work(tmp_path / "work", "one").has("layer-0-4")
    assert not Work(tmp_path / "work", "two").has("layer-0-4")


def test_a_work_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CannotQuantize, match="holds other things"):
        Work(tmp_path, "one")
    assert (tmp_path / "thesis.txt").is_file()


def test_what_cannot_be_run_is_not_left_behind(
    parent: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> tuple[int, ...]:
        raise CannotQuantize("The quantized model cannot be run: no.")

    monkeypatch.setattr("localphi.toolchain.quantize.folder.continued", broken)
    with pytest.raises(CannotQuantize, match="cannot be run"):
        quantize(parent, tmp_path / "out", Recipe("rtn"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.work"]


def test_a_plain_folder_needs_its_family(parent: ModelFolder, tmp_path: Path) -> None:
    plain = tmp_path / "My Phi"
    shutil.copytree(parent.path, plain)
    (plain / "localphi.json").unlink()
    with pytest.raises(CannotQuantize, match="--family"):
        source_model(tmp_path / "home", str(plain), None)
    source = source_model(tmp_path / "home", str(plain), "phi-4")
    manifest = quantize(source, tmp_path / "out", Recipe("rtn"), 1).manifest
    assert manifest.id == "my-phi-rtn-int4-g32"
    assert manifest.variants["server-cpu"].canary
    assert manifest.context_length == SMALL.context
    with pytest.raises(ModelFolderInvalid):
        source_model(tmp_path / "home", str(tmp_path), "phi-4")


# ---------------------------------------------------------------- what cannot be


def test_a_quantized_model_is_not_quantized_again() -> None:
    with pytest.raises(CannotQuantize, match="already quantized"):
        FloatGraph(DEMO)


def test_another_precision_is_named(parent: ModelFolder, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "fp16"
    shutil.copytree(parent.path, folder)
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), tensor.name))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(CannotQuantize, match="float16, but float32 is wanted"):
        FloatGraph(folder)


def test_a_group_size_that_does_not_divide_is_told_with_one_that_does(
    parent: ModelFolder, tmp_path: Path
) -> None:
    with pytest.raises(CannotQuantize, match=r"64 inputs.*groups of 128. Use --group-size 64"):
        quantize(parent, tmp_path / "out", Recipe("rtn", group_size=128), 1)
    narrow = tmp_path / "narrow"
    narrow.mkdir()
    odd = _float_model(narrow, FloatShape(hidden=48, heads=3, kv_heads=3, layers=1))
    with pytest.raises(CannotQuantize, match=r"--keep layers.0.attn.qkv_proj:fp32"):
        quantize(odd, tmp_path / "out", Recipe("rtn"), 1)


def test_an_unknown_layer_is_told_with_those_there_are(parent: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(CannotQuantize, match=r"'head'.*down_proj.*lm_head.*layers.0.attn.qkv_proj"):
        quantize(parent, tmp_path / "out", Recipe("rtn", keep=(("head", 8),)), 1)


def test_a_graph_without_the_structure_of_awq_is_refused(tmp_path: Path) -> None:
    from tiny_phi import PHI_4, tiny_phi

    folder = tmp_path / "bare"
    folder.mkdir()
    manifest = tiny_phi(folder, PHI_4)
    model = ModelFolder(folder, manifest, bundled=False)
    shutil.copytree(folder, tmp_path / "normless")
    assert quantize(model, tmp_path / "out", Recipe("kquant"), 1).bits == dict.fromkeys(
        ("qkv", "o", "head"), 4
    )
    import onnx

    graph = onnx.load(folder / "model.onnx")
    attention = next(node for node in graph.graph.node if node.op_type == "GroupQueryAttention")
    attention.input[2] = attention.input[1]  # v is k: neither has a single reader
    onnx.save(graph, folder / "model.onnx")
    with pytest.raises(CannotQuantize, match="--method kquant"):
        quantize(model, tmp_path / "out2", Recipe("awq"), 1)


def test_an_out_folder_that_exists_is_left_alone(parent: ModelFolder, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CannotQuantize, match="exists already"):
        quantize(parent, tmp_path, Recipe("rtn"), 1)
    assert (tmp_path / "kept.txt").read_text(encoding="utf-8") == "mine"


def test_the_ratio_and_8_bits_contradict_each_other(parent: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(CannotQuantize, match="--ratio"):
        quantize(parent, tmp_path / "out", Recipe("rtn", bits=8, ratio=0.5), 1)


def test_what_is_kept_is_parsed() -> None:
    assert parse_keep("lm_head:8, layers.0:fp32,") == (("lm_head", 8), ("layers.0", 32))
    assert parse_keep("") == ()
    for bad in ("lm_head", "lm_head:5", ":8", "lm_head:16"):
        with pytest.raises(ValueError, match="write lm_head:8"):
            parse_keep(bad)


def test_the_most_sensitive_layers_for_their_size_get_8_bits(parent: ModelFolder) -> None:
    layers = FloatGraph(parent.path).layers
    damage = {layer.name: 1.0 * layer.size for layer in layers}
    damage["layers.1.mlp.down_proj"] *= 100
    total = sum(layer.size for layer in layers)
    chosen = most_sensitive(layers, damage, {}, 0.7)
    assert "layers.1.mlp.down_proj" in chosen
    assert 0.1 < sum(layer.size for layer in layers if layer.name in chosen) / total <= 0.3
    assert most_sensitive(layers, damage, {}, 1.0) == set()
    fixed = {"lm_head": 8}
    assert "lm_head" not in most_sensitive(layers, damage, fixed, 0.7)
    assert most_sensitive(layers, damage, {}, 0.0) == {layer.name for layer in layers}
