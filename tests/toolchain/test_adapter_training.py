"""Adapters trained on what is served: they learn, go on after a cut, and bring a quantized model nearer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="the tool-chain is not installed")
pytest.importorskip("onnx", reason="the tool-chain is not installed")

from float_phi import FloatShape, float_phi  # noqa: E402
from localphi.chat import ChatRequest, Chunk, Message  # noqa: E402
from localphi.cli import main  # noqa: E402
from localphi.engine.generator import GeneratorBackend  # noqa: E402
from localphi.errors import CannotTrain  # noqa: E402
from localphi.models.adapters import AdapterStore  # noqa: E402
from localphi.models.manifest import load_manifest  # noqa: E402
from localphi.models.store import ModelFolder  # noqa: E402
from localphi.toolchain.adapters import train as train_module  # noqa: E402
from localphi.toolchain.adapters.network import GraphNetwork  # noqa: E402
from localphi.toolchain.adapters.texts import Text, read_texts  # noqa: E402
from localphi.toolchain.adapters.train import Plan, divergence, train  # noqa: E402
from localphi.toolchain.graphs.lora import add_lora_graphs  # noqa: E402
from serving import DEMO  # noqa: E402

QUESTION, ANSWER = "Who sings of autumn?", "The wind in the leaves."


@pytest.fixture
def demo() -> ModelFolder:
    return ModelFolder(DEMO, load_manifest(DEMO), bundled=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    path.write_text(json.dumps({"messages": turns}) + "\n\n", encoding="utf-8")
    return path


def _answer(folder: ModelFolder, home: Path, adapter: str | None, question: str = QUESTION) -> str:
    backend = GeneratorBackend(folder.path, folder.manifest, 1, 1, 2**26, home=home)
    backend.submit(1, ChatRequest((Message("user", question),), max_tokens=40, adapter=adapter))
    text = ""
    while backend.busy:
        text += "".join(event.text for _, event in backend.step() if isinstance(event, Chunk))
    return text


def test_the_network_computes_what_is_served(demo: ModelFolder) -> None:
    import numpy as np
    import onnxruntime_genai as og

    ids = [17 * number % 2900 + 5 for number in range(50)]
    with torch.no_grad():
        logits = GraphNetwork(DEMO, {}, 0, 1.0)(torch.tensor([ids]))[0, -1].numpy()
    params: Any = og.GeneratorParams(model := og.Model(str(DEMO)))
    params.set_search_options(max_length=60)
    generator: Any = og.Generator(model, params)
    generator.append_tokens(ids)
    np.testing.assert_allclose(logits, np.asarray(generator.get_logits()).reshape(-1), atol=2e-4)


def test_an_adapter_learns_an_answer_and_the_model_stays_as_it_was(
    demo: ModelFolder, data: Path, tmp_path: Path
) -> None:
    before = _answer(demo, tmp_path, None)
    texts = read_texts(data, demo, 256)
    plan = Plan(steps=30, batch=1, learning_rate=5e-3)
    trained = train(AdapterStore(tmp_path), demo, "poems", texts, plan)
    assert trained.losses[-1] < trained.losses[0] / 20
    assert _answer(demo, tmp_path, "poems") == ANSWER
    assert _answer(demo, tmp_path, None) == before != ANSWER
    assert not list((tmp_path / "adapters").rglob(".training*"))


def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(
    demo: ModelFolder, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "_CHECKPOINT_EVERY", 2)
    texts = read_texts(data, demo, 256)
    plan, whole = Plan(steps=6, batch=1, rank=2), AdapterStore(tmp_path / "whole")
    expected = train(whole, demo, "a", texts, plan)

    def cut(step: int, _: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    store = AdapterStore(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        train(store, demo, "a", texts, plan, progress=cut)
    assert store.of_model(demo.id) == []
    steps: list[int] = []
    again = train(store, demo, "a", texts, plan, progress=lambda step, _: steps.append(step))
    assert steps == [5, 6]
    assert again.losses == pytest.approx(expected.losses)
    assert again.adapter.weights.read_bytes() == expected.adapter.weights.read_bytes()
    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        train(store, demo, "a", texts, plan, progress=cut)
    train(
        store, demo, "a", texts, Plan(steps=6, batch=1, rank=3), progress=lambda step, _: steps.append(step)
    )
    assert steps == [1, 2, 3, 4, 5, 6], "another plan is another training"


def test_a_repair_brings_a_quantized_model_nearer_to_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("LOCALPHI_HOME", str(home))
    parent, child = tmp_path / "parent", home / "models" / "child"
    parent.mkdir()
    float_phi(parent, FloatShape(layers=2))
    home.joinpath("models").mkdir(parents=True)
    made = CliRunner().invoke(
        main, ["quantize", str(parent), "--method", "rtn", "--id", "child", "--out", str(child)]
    )
    assert made.exit_code == 0, made.output
    command = ["adapters", "train", "repair", "--model", "child", "--repair", str(parent)]
    done = CliRunner().invoke(main, [*command, "--steps", "12", "--batch", "1", "--rank", "8"])
    assert done.exit_code == 0, done.output
    folder = ModelFolder(child, load_manifest(child), bundled=False)
    assert "recovered" in done.output
    share = int(done.output.split("with it: ")[1].split("%")[0])
    assert 5 < share <= 100, done.output
    assert AdapterStore(home).get("child", "repair").info.rank == 8
    texts = [Text(tuple(range(30, 90)), 0)]
    assert divergence(folder, parent, texts) > 0
    assert divergence(ModelFolder(parent, load_manifest(parent), bundled=False), parent, texts) < 1e-6


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{", "line 1 is no JSON"),
        ('{"messages": []}', "line 1 must be"),
        ('{"messages": [{"role": "user", "content": "hi"}]}', "no answer of the assistant"),
        ('{"messages": [{"role": "me", "content": "hi"}]}', "without a role"),
        ('{"messages": [{"role": "user", "content": 7}]}', "a text as content"),
        ("", "no answer of the assistant"),
    ],
)
def test_data_that_cannot_be_learnt_is_told_by_its_line(
    demo: ModelFolder, tmp_path: Path, lines: str, message: str
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(CannotTrain, match=message):
        read_texts(path, demo, 256)


def test_answers_alone_are_learnt_and_long_ones_left_out(demo: ModelFolder, data: Path) -> None:
    from localphi.engine.tokenizer import PhiTokenizer

    (text,) = read_texts(data, demo, 256)
    assert PhiTokenizer(DEMO).decode(text.ids[text.answer :]).startswith(ANSWER)
    with pytest.raises(CannotTrain, match="none of at most 8 tokens"):
        read_texts(data, demo, 8)


def test_a_graph_of_unknown_nodes_is_refused(tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "odd"
    folder.mkdir()
    float_phi(folder, FloatShape(layers=1))
    add_lora_graphs(folder)
    proto = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    next(node for node in proto.graph.node if node.op_type == "Sigmoid").op_type = "Tanh"
    onnx.save(proto, str(folder / "model.onnx"))
    with pytest.raises(CannotTrain, match="a node Tanh"):
        GraphNetwork(folder, {}, 0, 1.0)(torch.tensor([[40, 41]]))


def test_the_command_wants_something_to_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["adapters", "train", "a"])
    assert done.exit_code == 2
    assert "--data" in done.output


def test_without_torch_the_command_names_the_extra(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(main, ["adapters", "train", "a", "--data", str(data)])
    assert done.exit_code == 1
    assert "pip install 'localphi[toolchain]'" in done.output
    assert not list(tmp_path.rglob("*.onnx_adapter"))
