"""LoRA adapters: taken over from PEFT, fitted to a graph, and computed with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from localphi.chat import ChatRequest, Chunk, Finished, RawPrompt
from localphi.cli import main
from localphi.config import disable_telemetry
from localphi.engine.base import Failed
from localphi.engine.generator import GeneratorBackend
from localphi.errors import AdapterInvalid, AdapterNotFound, CannotRewrite
from localphi.models.adapters import AdapterStore
from localphi.models.lora import lora_inputs
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelFolder, find_damage
from lora_files import matrices, module_sizes, write_peft
from serving import DEMO

pytest.importorskip("onnx", reason="onnx is not installed (extra 'quantize')")
pytest.importorskip("safetensors", reason="safetensors is not installed (extra 'quantize')")
disable_telemetry()

from float_phi import FloatShape, float_phi  # noqa: E402  telemetry goes off first
from localphi.models.manifest import LoraGraph  # noqa: E402
from localphi.toolchain.adapters.convert import convert_adapter, fit  # noqa: E402
from localphi.toolchain.adapters.peft import Change, read_peft  # noqa: E402
from localphi.toolchain.graphs.lora import add_lora_graphs, lora_proto  # noqa: E402
from localphi.toolchain.quantize.folder import continued  # noqa: E402

PROMPT = (40, 50, 60, 70, 80, 90)
TOKENS = 16


@pytest.fixture
def small(tmp_path: Path) -> ModelFolder:
    """A float32 model with a graph for adapters."""
    folder = tmp_path / "small"
    folder.mkdir()
    float_phi(folder, FloatShape(layers=2))
    add_lora_graphs(folder)
    return ModelFolder(folder, load_manifest(folder), bundled=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def _backend(folder: ModelFolder, home: Path) -> GeneratorBackend:
    return GeneratorBackend(
        folder.path, folder.manifest, threads=1, max_active=2, kv_budget_bytes=2**26, home=home
    )


def _answer(backend: GeneratorBackend, adapter: str | None, prompt: Sequence[int] = PROMPT) -> list[int]:
    backend.submit(1, ChatRequest(RawPrompt(tuple(prompt)), max_tokens=TOKENS, adapter=adapter))
    ids: list[int] = []
    while backend.busy:
        for _, event in backend.step():
            assert not isinstance(event, Failed), event
            if isinstance(event, Chunk):
                ids += event.token_ids
    return ids


def _merged(folder: ModelFolder, peft: Path) -> Path:
    """A copy of the model whose weights have the changes in them, by another way: lora_B @ lora_A."""
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import load_file

    copy = shutil.copytree(folder.path, folder.path.with_name(f"merged-{peft.name}"))
    model = onnx.load(str(copy / "model.onnx"))
    tensors = load_file(str(peft / "adapter_model.safetensors"))
    inner = {node.input[1]: node.name for node in model.graph.node if node.op_type == "MatMul"}
    for weight in model.graph.initializer:
        if "layers." not in inner.get(weight.name, ""):
            continue
        module = inner[weight.name].split("/model/")[1].removesuffix("/MatMul").replace("/", ".")
        module = module.replace(".attn.", ".self_attn.")
        fused, half = module, slice(None)
        if module.endswith(("gate_proj", "up_proj")):
            size = numpy_helper.to_array(weight).shape[1]
            half = slice(0, size) if module.endswith("gate_proj") else slice(size, None)
            fused = module.replace("gate_proj", "gate_up_proj").replace(".up_proj", ".gate_up_proj")
        name = f"base_model.model.model.{fused}"
        change = 2.0 * tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]  # alpha 8, rank 4
        changed = numpy_helper.to_array(weight) + change[half].T
        weight.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), weight.name))
    onnx.save(model, str(copy / "model.onnx"))
    return copy


def test_an_adapter_answers_as_the_weights_with_its_changes_in_them(small: ModelFolder, home: Path) -> None:
    sizes = module_sizes(small.path)
    names = {module.rsplit(".", 1)[1] for module in sizes}
    assert names == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
    backend = _backend(small, home)
    base = _answer(backend, None)
    for seed in (1, 2):
        peft = write_peft(home.parent / f"peft-{seed}", matrices(sizes, seed))
        adapter = convert_adapter(AdapterStore(home), small, peft, f"a{seed}")
        assert (adapter.info.rank, adapter.info.sites) == (4, 10)
        expected = list(continued(_merged(small, peft), PROMPT, TOKENS))
        assert _answer(backend, f"a{seed}") == expected
        assert expected != base


def test_base_and_adapters_can_be_changed_back_and_forth(home: Path, tmp_path: Path) -> None:
    demo = ModelFolder(DEMO, load_manifest(DEMO), bundled=True)
    sizes = module_sizes(DEMO)
    for name in ("one", "two"):
        peft = write_peft(tmp_path / name, matrices(sizes, len(name) + ord(name[0]), strength=0.1))
        convert_adapter(AdapterStore(home), demo, peft, name)
    expected = {name: _answer(_backend(demo, home), name) for name in (None, "one", "two")}
    assert len({tuple(ids) for ids in expected.values()}) == 3
    backend = _backend(demo, home)
    for adapter in (None, "one", "two", None, "one", "one", None):
        assert _answer(backend, adapter) == expected[adapter]


def test_those_wanted_least_recently_go_and_come_back(
    small: ModelFolder, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localphi.engine.kvcache.MAX_KEPT", 1)  # a kept cache has its adapter
    for seed, name in enumerate("abcd"):
        convert_adapter(
            AdapterStore(home),
            small,
            write_peft(tmp_path / name, matrices(module_sizes(small.path), seed)),
            name,
        )
    backend = _backend(small, home)
    first = {name: _answer(backend, name) for name in "abcd"}
    assert len({tuple(ids) for ids in first.values()}) == 4
    backend = _backend(small, home)
    adapters = backend._adapters
    adapters._most = 2
    for name in "abcdab":
        assert _answer(backend, name) == first[name]
        assert len(adapters._keys) <= 2
    held = [ChatRequest(RawPrompt(PROMPT), max_tokens=TOKENS, adapter=name) for name in "abcd"]
    for number, request in enumerate(held):  # two at work, two waiting
        backend.submit(number, request)
    ids: dict[int, list[int]] = {}
    while backend.busy:
        for number, event in backend.step():
            assert not isinstance(event, Failed), event
            if isinstance(event, Chunk):
                ids.setdefault(number, []).extend(event.token_ids)
    assert list(ids[number] for number in range(4)) == list(first.values())


def test_what_one_adapter_has_read_is_not_anothers(small: ModelFolder, home: Path, tmp_path: Path) -> None:
    sizes = module_sizes(small.path)
    for seed in (1, 2):
        convert_adapter(
            AdapterStore(home), small, write_peft(tmp_path / str(seed), matrices(sizes, seed)), f"a{seed}"
        )
    backend = _backend(small, home)

    def cached(adapter: str | None) -> int | None:
        backend.submit(1, ChatRequest(RawPrompt(PROMPT * 4), max_tokens=2, adapter=adapter))
        while backend.busy:
            for _, event in backend.step():
                if isinstance(event, Finished):
                    return event.usage.cached_tokens
        raise AssertionError("no end")

    assert [cached(name) for name in ("a1", "a2", None, "a1", "a2", None)] == [0, 0, 0, 23, 23, 23]


def test_an_adapter_made_anew_is_used_at_once(small: ModelFolder, home: Path, tmp_path: Path) -> None:
    sizes, store = module_sizes(small.path), AdapterStore(home)
    backend = _backend(small, home)
    convert_adapter(store, small, write_peft(tmp_path / "1", matrices(sizes, 1)), "a")
    first = _answer(backend, "a")
    convert_adapter(store, small, write_peft(tmp_path / "2", matrices(sizes, 2)), "a")
    assert _answer(backend, "a") != first
    assert [adapter.name for adapter in store.of_model(small.id)] == ["a"]
    assert not [path for path in (home / "adapters").rglob(".*")], "nothing half done is left"


def test_who_cannot_be_used_is_told_before_the_answer(small: ModelFolder, home: Path, tmp_path: Path) -> None:
    store, backend = AdapterStore(home), _backend(small, home)
    with pytest.raises(AdapterNotFound, match=r"has no adapter 'poems'\. It has none"):
        _answer(backend, "poems")
    peft = write_peft(tmp_path / "poems", matrices(module_sizes(small.path), 1))
    adapter = convert_adapter(store, small, peft, "poems")
    with pytest.raises(AdapterNotFound, match="It has poems"):
        _answer(backend, "poem")
    for name in ("../poems", ".", "", "POEMS", "a" * 65):
        with pytest.raises(AdapterNotFound):
            store.get(small.id, name)
    whole = adapter.weights.read_bytes()
    adapter.weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(AdapterInvalid, match="damaged"):
        _answer(backend, "poems")
    adapter.weights.write_bytes(whole)
    other = tmp_path / "other"
    other.mkdir()
    float_phi(other, FloatShape(layers=2), seed=9)
    add_lora_graphs(other)
    with pytest.raises(AdapterInvalid, match="other weights than those"):
        _answer(_backend(ModelFolder(other, load_manifest(other), bundled=False), home), "poems")
    assert _answer(backend, "poems")
    store.remove(adapter)
    with pytest.raises(AdapterNotFound):
        _answer(backend, "poems")


def test_parts_are_fused_and_fused_layers_cut_as_the_graph_has_them() -> None:
    random = np.random.default_rng(0)

    def change(inputs: int, outputs: int, rank: int) -> Change:
        return Change(
            random.standard_normal((inputs, rank), np.float32),
            random.standard_normal((rank, outputs), np.float32),
        )

    def whole(change: Change) -> Any:
        return change.down @ change.up

    q, v = change(8, 12, 2), change(8, 4, 3)
    fused = fit(
        {"layers.0.self_attn.q_proj": q, "layers.0.self_attn.v_proj": v},
        LoraGraph("x", {"layers.0.attn.qkv_proj": (8, 20)}),
        "m",
    )["layers.0.attn.qkv_proj"]
    np.testing.assert_allclose(whole(fused)[:, :12], whole(q), rtol=1e-5)
    np.testing.assert_allclose(whole(fused)[:, 12:16], 0)
    np.testing.assert_allclose(whole(fused)[:, 16:], whole(v), rtol=1e-5)
    qkv = change(8, 20, 2)
    parts = fit(
        {"layers.3.self_attn.qkv_proj": qkv, "layers.3.self_attn.dense": change(12, 8, 1)},
        LoraGraph(
            "x",
            {f"layers.3.attn.{part}_proj": size for part, size in
             {"q": (8, 12), "k": (8, 4), "v": (8, 4), "o": (12, 8)}.items()},
        ),
        "m",
    )  # fmt: skip
    np.testing.assert_allclose(whole(parts["layers.3.attn.k_proj"]), whole(qkv)[:, 12:16], rtol=1e-5)
    assert set(parts) == {f"layers.3.attn.{part}_proj" for part in "qkvo"}


def _drop_half(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    del tensors[next(name for name in tensors if "lora_B" in name)]


def _other_size(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    name = next(name for name in tensors if "o_proj.lora_A" in name)
    tensors[name] = np.zeros((4, 63), np.float32)


def _head(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    tensors["base_model.model.lm_head.lora_A.weight"] = np.zeros((4, 64), np.float32)


def _layer_too_many(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    for half, shape in (("A", (4, 64)), ("B", (64, 4))):
        name = f"base_model.model.model.layers.7.self_attn.o_proj.lora_{half}.weight"
        tensors[name] = np.zeros(shape, np.float32)


def _nan(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    next(iter(tensors.values()))[0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, config: config.update(peft_type="IA3"), "type 'IA3'; only LORA"),
        (lambda _, config: config.update(use_dora=True), "uses use_dora"),
        (lambda _, config: config.update(bias="all"), "uses bias"),
        (lambda _, config: config.update(modules_to_save=["lm_head"]), "uses modules_to_save"),
        (lambda tensors, _: tensors.clear(), "holds no matrices"),
        (_drop_half, "has not both matrices of layers"),
        (_other_size, "for another model than"),
        (_head, "changes base_model.model.lm_head"),
        (_layer_too_many, "changes layers.7.attn.o_proj, which"),
        (_nan, "no matrix of finite numbers"),
    ],
)
def test_what_is_no_adapter_for_this_model_is_refused_and_leaves_nothing(
    small: ModelFolder, home: Path, tmp_path: Path, change: Callable[[Any, Any], None], message: str
) -> None:
    tensors, config = matrices(module_sizes(small.path), 1), dict[str, Any]()
    change(tensors, config)
    peft = write_peft(tmp_path / "peft", tensors, **config)
    with pytest.raises(AdapterInvalid, match=message):
        convert_adapter(AdapterStore(home), small, peft, "a")
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_files_that_are_not_there_or_cut_off_are_told(small: ModelFolder, tmp_path: Path) -> None:
    peft = write_peft(tmp_path / "peft", matrices(module_sizes(small.path), 1))
    with pytest.raises(AdapterInvalid, match="no LoRA adapter of PEFT: it must have"):
        read_peft(small.path)
    data = (peft / "adapter_model.safetensors").read_bytes()
    (peft / "adapter_model.safetensors").write_bytes(data[:-9])
    with pytest.raises(AdapterInvalid, match="damaged"):
        read_peft(peft)
    (peft / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(AdapterInvalid, match="no JSON"):
        read_peft(peft)


def test_the_scale_is_in_it_as_peft_says(tmp_path: Path) -> None:
    sizes = {"layers.0.self_attn.o_proj": (8, 6)}
    plain = read_peft(write_peft(tmp_path / "1", matrices(sizes, 1), lora_alpha=4))
    double = read_peft(write_peft(tmp_path / "2", matrices(sizes, 1), lora_alpha=8))
    root = read_peft(write_peft(tmp_path / "3", matrices(sizes, 1), lora_alpha=4, use_rslora=True))
    (one, two, three) = (each["layers.0.self_attn.o_proj"] for each in (plain, double, root))
    np.testing.assert_allclose(two.up, 2 * one.up)
    np.testing.assert_allclose(three.up, 2 * one.up)  # of rank 4
    assert one.down.shape == (8, 4)
    assert one.up.shape == (4, 6)


def test_halves_of_float32_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the tool-chain is not installed")
    from safetensors.torch import save_file

    sizes = {"layers.0.self_attn.o_proj": (8, 6)}
    peft = write_peft(tmp_path / "1", matrices(sizes, 1))
    exact = read_peft(peft)["layers.0.self_attn.o_proj"]
    for kind in (torch.bfloat16, torch.float16):
        tensors = {name: torch.tensor(each).to(kind) for name, each in matrices(sizes, 1).items()}
        save_file(tensors, str(peft / "adapter_model.safetensors"))
        found = read_peft(peft)["layers.0.self_attn.o_proj"]
        np.testing.assert_allclose(found.down, exact.down, rtol=0.01)


def test_the_demo_folder_has_the_graphs_for_adapters_that_are_made_today() -> None:
    import onnx

    source = onnx.load(str(DEMO / "model.onnx"), load_external_data=False)
    for device in ("server-cpu", "webgpu-f32", "wasm"):
        lora = load_manifest(DEMO).variants[device].lora
        assert lora is not None
        proto, sites = lora_proto(source, defaults=device == "server-cpu")
        assert (DEMO / lora.graph).read_bytes() == proto.SerializeToString(deterministic=True), (
            "Make it anew: python -m localphi.toolchain.graphs lora "
            "webapp/localphi/models/bundled/localphi-demo"
        )
        assert lora.sites == sites
        assert len(sites) == 30


def test_browsers_get_a_graph_of_their_own_whose_adapter_must_be_given(small: ModelFolder) -> None:
    import onnx

    variants = small.manifest.variants
    assert variants["wasm"].lora is not None
    assert variants["server-cpu"].lora is not None
    assert variants["wasm"].lora.graph in variants["wasm"].files
    assert variants["wasm"].lora.graph not in variants["server-cpu"].files
    assert variants["server-cpu"].lora.graph not in variants["wasm"].files
    proto = onnx.load(str(small.path / variants["wasm"].lora.graph), load_external_data=False)
    inputs = {each.name for each in proto.graph.input}
    assert {name for site in variants["wasm"].lora.sites for name in lora_inputs(site)} <= inputs
    assert not inputs & {tensor.name for tensor in proto.graph.initializer}
    assert add_lora_graphs(small.path).browsers == ("wasm",)
    assert load_manifest(small.path) == small.manifest


def test_a_browsers_graph_that_cannot_be_had_is_passed_over_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localphi.toolchain.graphs.lora._MOST_INSIDE_BYTES", 1)
    folder = tmp_path / "small"
    folder.mkdir()
    float_phi(folder, FloatShape(layers=1))
    told = add_lora_graphs(folder).told()
    assert "5 layers can be adapted, on the server\nnot on wasm: model.onnx holds its weights itself" in told
    variants = load_manifest(folder).variants
    assert variants["wasm"].lora is None
    assert variants["server-cpu"].lora is not None


def test_a_graph_without_layers_to_adapt_is_refused(tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "odd"
    folder.mkdir()
    float_phi(folder, FloatShape(layers=1))
    proto = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    for node in proto.graph.node:
        node.name = node.name.replace("layers", "stages")
    onnx.save(proto, str(folder / "model.onnx"))
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(CannotRewrite, match="no linear layers"):
        add_lora_graphs(folder)
    assert {path.name for path in folder.iterdir()} == before


def test_the_commands_take_over_list_show_and_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    model = home / "models" / "small"
    model.mkdir(parents=True)
    manifest = float_phi(model, FloatShape(layers=1))
    monkeypatch.setenv("LOCALPHI_HOME", str(home))

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["adapters", *arguments])
        assert done.exit_code == code, done.output
        return done.output

    assert "No adapters" in run("list")
    prepared = run("prepare", manifest.id)
    assert "5 layers can be adapted" in prepared
    folder = ModelFolder(model, load_manifest(model), bundled=False)
    assert not list(find_damage(folder))
    peft = write_peft(tmp_path / "poems", matrices(module_sizes(model), 1))
    assert f'"model": "{manifest.id}:poems"' in run("convert", str(peft), "--model", manifest.id)
    assert f"{manifest.id}:poems   rank 4" in run("list")
    assert "It fits the model here." in run("show", f"{manifest.id}:poems")
    assert "no name for an adapter" in run(
        "convert", str(peft), "--model", manifest.id, "--name", "A b", code=1
    )
    assert "write MODEL:NAME" in run("show", "poems", code=1)
    run("rm", "--yes", f"{manifest.id}:poems")
    assert "has no adapter 'poems'" in run("rm", "--yes", f"{manifest.id}:poems", code=1)
