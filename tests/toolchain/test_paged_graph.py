"""Graphs with a paged cache answer as the graphs they were made of; what cannot be made is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from localphi.config import disable_telemetry
from localphi.engine.prompt import prompt_text
from localphi.errors import CannotRewrite
from localphi.models.manifest import (
    Manifest,
    PagedGraph,
    SamplingDefaults,
    Variant,
    describe_file,
    load_manifest,
    write_manifest,
)
from localphi.models.store import ModelFolder, find_damage
from serving import DEMO, VECTORS
from tiny_phi import PHI_4, small_files

pytest.importorskip("onnx", reason="onnx is not installed (extra 'quantize')")
disable_telemetry()

from float_phi import FloatShape, float_phi  # noqa: E402
from localphi.chat import ChatRequest, Message  # noqa: E402
from localphi.engine.tokenizer import PhiTokenizer  # noqa: E402  telemetry goes off first
from localphi.toolchain.graphs import paged as paged_module  # noqa: E402
from localphi.toolchain.graphs import paged_step  # noqa: E402
from localphi.toolchain.graphs.commands import main as command  # noqa: E402
from localphi.toolchain.graphs.paged import PAGED_NAME, add_paged_graph  # noqa: E402
from localphi.toolchain.graphs.paged_answer import PagedEngine  # noqa: E402
from localphi.toolchain.graphs.paged_rewrite import paged_proto  # noqa: E402
from localphi.toolchain.quantize.folder import continued  # noqa: E402

VOCABULARY = 256 + len(PHI_4.prompt_format.control)
SWITCH = 96  # up to here LongRoPE takes its short table
LENGTHS = (3, 40, 17, 1, 33, 8, 25, 64)  # of prompts: within a block, a whole number of blocks, and more
TOKENS = 20
FAMILIES = ("phi-2", "phi-3", "phi-3.5", "phi-4-mini")


def _prompts() -> list[list[int]]:
    random = np.random.default_rng(7)
    return [random.integers(0, 256, length).tolist() for length in LENGTHS]


def _family(name: str) -> tuple[str, dict[str, Any]]:
    """Class and configuration of a tiny model with what is peculiar to the family."""
    heads, size = 4, 64
    config: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": heads * size,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": 2 if name == "phi-4-mini" else heads,
        "max_position_embeddings": 512,
        "bos_token_id": 256,
        "eos_token_id": 256,
        "pad_token_id": 256,
    }
    if name == "phi-2":
        return "Phi", config | {"partial_rotary_factor": 0.5}
    config["original_max_position_embeddings"] = 512
    if name == "phi-3":
        return "Phi3", config | {"sliding_window": 24}
    share = 0.75 if name == "phi-4-mini" else 1.0
    turned = int(size * share) // 2
    scaling = {
        "rope_type": "longrope",
        "type": "longrope",
        "short_factor": [1 + 0.01 * n for n in range(turned)],
        "long_factor": [1.5 + n for n in range(turned)],
    }
    config |= {"rope_scaling": scaling, "rope_theta": 10_000.0, "original_max_position_embeddings": SWITCH}
    return "Phi3", config | {"partial_rotary_factor": share, "tie_word_embeddings": name == "phi-4-mini"}


def _checkpoint(folder: Path, name: str) -> None:
    torch = pytest.importorskip("torch", reason="the tool-chain is not installed")
    transformers = pytest.importorskip("transformers", reason="the tool-chain is not installed")
    architecture, config = _family(name)
    torch.manual_seed(0)
    model = getattr(transformers, f"{architecture}ForCausalLM")(
        getattr(transformers, f"{architecture}Config")(**config)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(saved | config), encoding="utf-8")
    for file, data in small_files(PHI_4).items():
        if file != "genai_config.json":
            (folder / file).write_bytes(data)


@pytest.fixture(scope="module", params=[f"{name} {kind}" for name in FAMILIES for kind in ("fp32", "int4")])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A family, and its export by ONNX Runtime GenAI's own model builder with a paged graph added."""
    name, precision = request.param.split()
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    _checkpoint(folder / "checkpoint", name)
    builder = pytest.importorskip("onnxruntime_genai.models.builder", reason="the builder is not installed")
    place = ("", str(folder / "checkpoint"), str(folder / "model"), precision, "cpu", str(folder / "cache"))
    builder.create_model(*place, **builder.parse_extra_options(*place, []))
    _keep_whole_cache(folder / "model" / "genai_config.json")
    _describe(folder / "model")
    add_paged_graph(folder / "model")
    return name, folder / "model"


def _keep_whole_cache(path: Path) -> None:
    """Drop the sliding window: with it GenAI 0.18 gives the other graph too short a cache."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["decoder"].pop("sliding_window", None)
    path.write_text(json.dumps(config), encoding="utf-8")


def _describe(folder: Path) -> Manifest:
    names = tuple(sorted(path.name for path in folder.iterdir() if path.suffix != ".jinja"))
    manifest = Manifest(
        id="tiny",
        name="tiny",
        description="random weights",
        family="phi3",
        license="MIT",
        origin={"source": "tests"},
        context_length=512,
        sampling=SamplingDefaults(0.0, 1.0, 0),
        system_prompt=None,
        prompt_format=PHI_4.prompt_format,
        files={name: describe_file(folder / name) for name in names},
        variants={"server-cpu": Variant(names, 1, 1, None)},
    )
    write_manifest(folder, manifest)
    return manifest


def _paged(folder: Path) -> PagedGraph:
    paged = load_manifest(folder).variants["server-cpu"].paged
    assert paged is not None
    return paged


def _alone(folder: Path, prompts: Sequence[Sequence[int]], tokens: int = TOKENS) -> list[list[int]]:
    """What the other graph answers, without the token that ends an answer."""
    answers = [continued(folder, prompt, tokens) for prompt in prompts]
    end = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["eos_token_id"]
    ends = set(end if isinstance(end, list) else [end])
    return [[token for token in answer if token not in ends] for answer in answers]


def _engine(folder: Path, **sizes: int) -> PagedEngine:
    return PagedEngine(folder, _paged(folder), **{"num_blocks": 256, "max_batch_size": len(LENGTHS), **sizes})


def _run(engine: PagedEngine, prompts: Sequence[Sequence[int]], every: int = 0, tokens: int = TOKENS) -> None:
    """Answer the prompts; every: steps after which the next one joins, 0 for all at once."""
    waiting, steps = list(prompts), 0
    while waiting or engine.busy:
        while waiting and (not every or steps % every == 0):
            engine.begin(waiting.pop(0), tokens)
            if every:
                break
        engine.step()
        steps += 1


def test_a_family_answers_as_its_other_graph_alone_together_and_with_late_joins(
    built: tuple[str, Path],
) -> None:
    name, folder = built
    prompts = _prompts()
    expected = _alone(folder, prompts)
    assert sum(map(len, expected)) > TOKENS * len(prompts) / 2, "the answers are too short to tell anything"
    alone = _engine(folder, max_batch_size=1)
    for prompt in prompts:
        _run(alone, [prompt])
    assert alone.answers == expected
    together = _engine(folder, max_scheduled_tokens=48)
    _run(together, prompts)
    assert together.answers == expected
    late = _engine(folder, max_scheduled_tokens=48)
    _run(late, prompts, every=3)
    assert late.answers == expected
    long = name in {"phi-3.5", "phi-4-mini"}
    assert _paged(folder).max_sequence_tokens == (SWITCH if long else 512)


def test_the_demo_answers_the_parity_vectors_alone_and_all_at_once() -> None:
    cases = json.loads((VECTORS / "parity.json").read_text(encoding="utf-8"))
    manifest, tokenizer = load_manifest(DEMO), PhiTokenizer(DEMO)
    requests = [
        ChatRequest(tuple(Message(turn["role"], turn["content"]) for turn in case["messages"]))
        for case in cases["cases"]
    ]
    prompts = [tokenizer.encode(prompt_text(manifest, request)) for request in requests]
    expected = [case["ids"] for case in cases["cases"]]
    alone = _engine(DEMO, max_batch_size=1)
    for prompt in prompts:
        _run(alone, [prompt], tokens=cases["max_tokens"])
    together = _engine(DEMO, max_batch_size=len(prompts), max_scheduled_tokens=64)
    _run(together, prompts, every=2, tokens=cases["max_tokens"])
    assert _until_end(alone.answers) == _until_end(together.answers) == _until_end(expected)


def _until_end(answers: Sequence[Sequence[int]]) -> list[list[int]]:
    ends = {3056, 3060}
    return [[token for token in answer if token not in ends] for answer in answers]


def test_the_demo_answers_long_prompts_and_finds_what_two_of_them_share() -> None:
    random = np.random.default_rng(3)
    start = random.integers(0, 3000, 480).tolist()
    prompts = [start + random.integers(0, 3000, length).tolist() for length in (5, 400)]
    expected = _alone(DEMO, prompts)
    engine = _engine(DEMO, max_batch_size=1, max_scheduled_tokens=128)
    _run(engine, prompts, every=10**6)
    assert engine.answers == expected
    assert engine.cached == {0: 0, 1: 480}


def test_conversations_too_long_to_be_read_together_get_the_same_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(DEMO, tmp_path / "demo")
    monkeypatch.setattr(paged_step, "_NUMBERS_TOGETHER", 8 * 2 * 32 * 64)  # eight blocks of two heads
    add_paged_graph(copy)
    random = np.random.default_rng(5)
    prompts = [random.integers(0, 3000, length).tolist() for length in (3, 20, 130)]
    expected = _alone(DEMO, prompts)
    engine = _engine(copy)
    _run(engine, prompts, every=4)
    assert engine.answers == expected


@pytest.mark.parametrize("right", [True, False])
def test_drafted_tokens_are_checked_in_one_step_and_never_change_the_answer(right: bool) -> None:
    canary = load_manifest(DEMO).variants["server-cpu"].canary
    assert canary is not None
    prompt = canary.prompt
    (expected,) = _alone(DEMO, [prompt])
    engine = _engine(DEMO, max_batch_size=2)
    number, steps = engine.begin(prompt, TOKENS), 0
    while engine.busy:
        had = len(engine.answers[number])
        if 0 < had < len(expected) - 3:
            engine.draft(number, expected[had : had + 3] if right else [1, 2, 3])
        engine.step()
        steps += 1
    assert engine.answers[number] == expected
    assert (steps < TOKENS / 2) == right


def test_the_demo_folder_has_the_graph_that_is_made_today_for_the_server_alone() -> None:
    import onnx

    manifest = load_manifest(DEMO)
    paged = _paged(DEMO)
    made = paged_proto(
        onnx.load(str(DEMO / "model.onnx"), load_external_data=False),
        head_size=64,
        block_tokens=paged.block_tokens,
    )
    assert (DEMO / paged.graph).read_bytes() == made.proto.SerializeToString(deterministic=True), (
        "Make it anew: python -m localphi.toolchain.graphs paged webapp/localphi/models/bundled/localphi-demo"
    )
    users = [device for device, variant in manifest.variants.items() if paged.graph in variant.files]
    assert users == ["server-cpu"]
    assert (DEMO / paged.graph).stat().st_size < 200_000, "the weights stay in their own file"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A float32 model without torch, made here in the builder's shape."""
    folder = tmp_path / "small"
    folder.mkdir()
    float_phi(folder, FloatShape(layers=1))
    return folder


def _load(folder: Path) -> Any:
    import onnx

    return onnx.load(str(folder / "model.onnx"))


def _session(proto: Any) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def _last_logits(proto: Any, ids: Sequence[int]) -> Any:
    """Of the graph with a cache of its own."""
    session = _session(proto)
    feeds: dict[str, Any] = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
    if "position_ids" in {entry.name for entry in session.get_inputs()}:
        feeds["position_ids"] = np.arange(len(ids))[None]
    feeds |= {f"past_key_values.0.{kind}": np.zeros((1, 2, 0, 16), np.float32) for kind in ("key", "value")}
    return session.run(["logits"], feeds)[0][0, -1]


def _paged_logits(proto: Any, ids: Sequence[int], first: int) -> Any:
    """Of the paged graph that reads `first` tokens and then the others, with a cache full of NaN."""
    session = _session(paged_proto(proto, head_size=16, block_tokens=8).proto)
    caches = {
        f"past_key_values.0.{kind}": np.full((9, 8, 2, 16), np.nan, np.float32) for kind in ("key", "value")
    }
    table, logits = np.array([[7, 2, 5, 0]], np.int32), None
    for begin, end in ((0, first), (first, len(ids))):
        feeds = {
            "input_ids": np.array(ids[begin:end]),
            "cumulative_sequence_lengths": np.array([0, end - begin], np.int32),
            "past_sequence_lengths": np.array([begin], np.int32),
            "block_table": table,
            "attention_metadata": np.array([end - begin, end, end], np.int32),
            "logits_indices": np.array([end - begin - 1], np.int32),
            **caches,
        }
        logits, *rest = session.run(None, feeds)
        names = [output.name.replace("present", "past_key_values") for output in session.get_outputs()[1:]]
        caches = dict(zip(names, rest, strict=True))
    for cache in caches.values():
        untouched = [block for block in range(9) if np.isnan(cache[block]).all()]
        assert untouched == [0, 1, 3, 4, 6, 8], "only blocks of the conversation are written, and those whole"
    assert logits is not None
    return logits[0]


IDS = [65, 66, 3, 200, 17, 99, 4, 31, 8, 120, 77, 5, 250, 14, 63, 9, 41, 2, 88]


def test_a_cache_of_garbage_does_no_harm(small: Path) -> None:
    proto = _load(small)
    expected = _last_logits(proto, IDS)
    for first in (1, 8, 13, 18):
        np.testing.assert_allclose(_paged_logits(proto, IDS, first), expected, atol=2e-4)


def _unpacked(proto: Any) -> None:
    """Query, key and value come to the attention one by one."""
    from onnx import helper, numpy_helper

    number, node = next((n, x) for n, x in enumerate(proto.graph.node) if x.op_type == "GroupQueryAttention")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([64, 32, 32]), "widths"))
    proto.graph.node.insert(
        number, helper.make_node("Split", [node.input[0], "widths"], ["q", "k", "v"], axis=-1)
    )
    attention = proto.graph.node[number + 1]
    for place, name in enumerate("qkv"):
        attention.input[place] = name


def _turned_before(proto: Any) -> None:
    """Nodes of their own turn query and key before the attention, by the graph's position_ids."""
    from onnx import TensorProto, helper

    _unpacked(proto)
    number = next(n for n, node in enumerate(proto.graph.node) if node.op_type == "GroupQueryAttention")
    for name, heads in (("k", 2), ("q", 4)):
        inputs = [name, "position_ids", "cos_cache", "sin_cache"]
        turn = helper.make_node(
            "RotaryEmbedding", inputs, [f"{name}_turned"], domain="com.microsoft", num_heads=heads
        )
        proto.graph.node.insert(number, turn)
    attention = proto.graph.node[number + 2]
    attention.input[0], attention.input[1] = "q_turned", "k_turned"
    del attention.input[7:]
    for entry in attention.attribute:
        if entry.name == "do_rotary":
            entry.i = 0
    proto.graph.input.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["b", "s"]))


@pytest.mark.parametrize("change", [_unpacked, _turned_before])
def test_other_forms_of_the_attention_give_the_same_logits(
    small: Path, change: Callable[[Any], None]
) -> None:
    expected = _last_logits(_load(small), IDS)
    proto = _load(small)
    change(proto)
    np.testing.assert_allclose(_last_logits(proto, IDS), expected, atol=1e-4)
    np.testing.assert_allclose(_paged_logits(proto, IDS, 11), expected, atol=2e-4)


def _attention(proto: Any) -> Any:
    return next(node for node in proto.graph.node if node.op_type == "GroupQueryAttention")


def _set(proto: Any, name: str, value: float) -> None:
    from onnx import helper

    _attention(proto).attribute.append(helper.make_attribute(name, value))


def _add_input(proto: Any) -> None:
    from onnx import TensorProto, helper

    proto.graph.input.append(helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["b", "c"]))


def _half_cache(proto: Any) -> None:
    for entry in proto.graph.input:
        if entry.name.startswith("past"):
            entry.type.tensor_type.elem_type = 10


def _computed_table(proto: Any) -> None:
    from onnx import helper

    proto.graph.node.insert(0, helper.make_node("Neg", ["cos_cache"], ["other_table"]))
    _attention(proto).input[7] = "other_table"


def _odd_head(proto: Any) -> None:
    from onnx import helper

    proto.graph.node[-1].output[0] = "before"
    proto.graph.node.append(helper.make_node("Softmax", ["before"], ["logits"], name="/lm_head/Softmax"))


def _hidden_states(proto: Any) -> None:
    proto.graph.output.append(proto.graph.output[0])
    proto.graph.output[-1].name = "hidden_states"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: setattr(_attention(p), "op_type", "MultiHeadAttention"), "MultiHeadAttention"),
        (lambda p: _set(p, "softcap", 30.0), "/attn/GroupQueryAttention uses softcap"),
        (lambda p: _set(p, "sliding_window_cache", 1), "/attn/GroupQueryAttention uses sliding_window_cache"),
        (lambda p: _attention(p).input.extend(["", "lm_head.MatMul.weight"]), "uses its input 10"),
        (_add_input, "'pixel_values'"),
        (_half_cache, "GroupQueryAttention is not float32"),
        (_computed_table, "GroupQueryAttention reads 'other_table'"),
        (_odd_head, "/lm_head/Softmax, a Softmax"),
        (_hidden_states, "hidden_states"),
    ],
)
def test_a_graph_of_another_form_is_refused_and_the_folder_stays_as_it_is(
    small: Path, change: Callable[[Any], Any], said: str
) -> None:
    import onnx

    proto = onnx.load(str(small / "model.onnx"), load_external_data=False)
    change(proto)
    onnx.save(proto, str(small / "model.onnx"))
    before = _contents(small)
    with pytest.raises(CannotRewrite) as caught:
        add_paged_graph(small)
    assert said in caught.value.message
    assert _contents(small) == before


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_graph_that_answers_otherwise_is_not_added(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _contents(small)
    monkeypatch.setattr(paged_module, "paged_answer", lambda *_: [1, 2, 3, 4, 5, 6, 7, 8])
    with pytest.raises(CannotRewrite, match=r"answers \[1, 2, 3, .* where model\.onnx answers"):
        add_paged_graph(small)
    assert _contents(small) == before


def test_where_two_tokens_are_equally_likely_either_may_follow(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = [1, 2, 3]
    expected = list(continued(small, prompt, 8))
    other = [*expected[:2], (expected[2] + 1) % 200, *expected[3:]]
    monkeypatch.setattr(paged_module, "paged_answer", lambda *_: other)
    monkeypatch.setattr(paged_module, "_prompt", lambda *_: prompt)
    with pytest.raises(CannotRewrite, match="answers"):
        add_paged_graph(small)
    monkeypatch.setattr(paged_module, "_TIE", 100.0)
    assert add_paged_graph(small).graph == PAGED_NAME


def test_adding_twice_lists_the_graph_once_and_the_folder_is_whole(small: Path) -> None:
    first = add_paged_graph(small)
    assert add_paged_graph(small) == first
    manifest = load_manifest(small)
    assert manifest.variants["server-cpu"].files.count(PAGED_NAME) == 1
    assert PAGED_NAME not in manifest.variants["wasm"].files
    assert not list(find_damage(ModelFolder(small, manifest, bundled=False)))


def test_a_model_that_only_a_browser_runs_gets_no_paged_graph(small: Path) -> None:
    manifest = load_manifest(small)
    write_manifest(small, replace(manifest, variants={"wasm": manifest.variants["wasm"]}))
    with pytest.raises(CannotRewrite, match=r"no variant server-cpu.*It has wasm"):
        add_paged_graph(small)


def test_the_command_adds_a_graph_or_says_why_not(small: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["paged", str(small)])
    assert done.exit_code == 0, done.output
    assert "up to 512 tokens" in done.output
    shutil.copytree(small, tmp_path / "other")
    (tmp_path / "other" / "model.onnx").write_bytes(b"no graph")
    done = CliRunner().invoke(command, ["paged", str(tmp_path / "other")])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "cannot be read as an ONNX graph" in done.output
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(command, ["paged", str(tmp_path / "empty")])
    assert done.exit_code == 1
    assert "no localphi.json" in done.output
