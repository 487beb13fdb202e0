"""Embedding models in the store: pulled from a hub on this machine, looked after, used by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hub_stand_in import Fault, HubStandIn, hub_stand_in
from localphi import create_app
from localphi.cli import main
from localphi.config import Settings
from localphi.models.catalogue import catalogue
from localphi.models.hub import Hub
from localphi_agents.rag import EmbeddingUnusable, OnnxTextEmbedding
from rag_files import VOCABULARY, hub_files

MINI, BGE, E5 = catalogue().embeddings
GRAPH = "onnx/model.onnx"


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    from huggingface_hub import close_session

    with hub_stand_in() as hub:
        yield hub
        close_session()


@pytest.fixture
def files(tmp_path: Path, hub: HubStandIn) -> dict[str, bytes]:
    """Of the hub's MiniLM."""
    files = hub_files(tmp_path / "encoder")
    assert MINI.place.revision
    hub.add(MINI.place.repo, files, MINI.place.revision, license="apache-2.0")
    return files


@pytest.fixture
def home(tmp_path: Path, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("localphi.cli.pull.Hub", lambda: Hub(hub.address))
    return tmp_path / "home"


def run(*arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["models", *arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_it_is_pulled_listed_shown_verified_repaired_and_removed(
    home: Path, hub: HubStandIn, files: dict[str, bytes]
) -> None:
    code, output = run("pull", MINI.place.repo, text="y\n")
    assert code == 0
    for said in ("searching in documents", "Apache-2.0", "in 6 files", "--embeddings all-minilm-l6-v2"):
        assert said in output
    folder = home / "embeddings" / MINI.id
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept == {*files, "localphi.json"} - {"README.md", "model.safetensors", "onnx/model_O4.onnx"}
    assert f"{MINI.id}  " in run("list")[1]
    kinds = {row["id"]: row["kind"] for row in json.loads(run("list", "--json")[1])}
    assert kinds == {"localphi-demo": "chat", MINI.id: "embedding"}
    shown = run("show", MINI.id)[1]
    for said in (
        str(MINI.place.revision),
        "up to 3 tokens each, pooling: mean",
        "embedding model",
        str(folder),
    ):
        assert said in shown
    assert run("path", MINI.id)[1].strip() == str(folder)
    assert "all 6 files are whole" in run("verify", MINI.id)[1]
    (folder / GRAPH).write_bytes(files[GRAPH][:-1] + b"x")
    code, output = run("verify")
    assert (code, "localphi-demo: all" in output, f"localphi models pull {MINI.id}" in output) == (
        1,
        True,
        True,
    )
    assert "already here, and" not in run("pull", MINI.id, "--yes")[1]
    assert run("verify", MINI.id)[0] == 0
    hub.seen.clear()
    assert "already here" in run("pull", MINI.id)[1]
    assert hub.seen == []
    assert run("rm", MINI.id, "--yes")[0] == 0
    assert not folder.exists()
    assert MINI.id not in run("list")[1]


def test_an_interrupted_pull_is_told_and_can_be_thrown_away(
    home: Path, hub: HubStandIn, tmp_path: Path
) -> None:
    files = hub_files(tmp_path / "encoder") | {GRAPH: bytes(200_000)}
    assert MINI.place.revision
    hub.add(MINI.place.repo, files, MINI.place.revision)
    hub.fail(GRAPH, Fault(cut_after=150_000), Fault(429, {"Retry-After": "9999"}))
    code, output = run("pull", MINI.id, "--yes")
    assert (code, "kept" in output) == (1, True)
    assert hub.ranges(GRAPH) == ["bytes=0-", "bytes=150000-"]
    assert "Not whole yet: all-minilm-l6-v2, 0.2 MB" in run("list")[1]
    assert "is deleted" in run("rm", MINI.id, "--yes")[1]
    assert list((home / "embeddings" / ".pulling").iterdir()) == [
        home / "embeddings" / ".pulling" / f"{MINI.id}.lock"
    ]


@pytest.mark.parametrize(("pooling", "place"), [("mean_tokens", slice(None)), ("cls_token", slice(1))])
def test_vectors_are_made_as_its_own_files_say(
    home: Path, hub: HubStandIn, tmp_path: Path, pooling: str, place: slice
) -> None:
    files = hub_files(tmp_path / "encoder", pooling=pooling)
    assert E5.place.revision
    hub.add(E5.place.repo, files, E5.place.revision)
    assert run("pull", E5.id, "--yes")[0] == 0
    embedding = OnnxTextEmbedding(E5.id)
    other = OnnxTextEmbedding(tmp_path / "encoder")  # whose files say nothing of prompts
    table = _table(tmp_path / "encoder")
    for kind, prompt in (("query", "query : cat"), ("passage", "passage : cat")):
        states = table[[VOCABULARY.index(word) if word in VOCABULARY else 1 for word in prompt.split()]]
        mean = states[place].mean(axis=0)
        vector = embedding.embed(["cat and what is cut"], "query" if kind == "query" else "passage")[0]
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert embedding.identity != other.identity


def _table(folder: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(folder / "model.onnx")).graph
    return numpy_helper.to_array(next(one for one in graph.initializer if one.name == "table"))


def test_it_is_never_offered_to_chat_with(home: Path, files: dict[str, bytes]) -> None:
    assert run("pull", MINI.id, "--yes")[0] == 0
    app = create_app(Settings(home=home, backend="echo"))
    try:
        client = app.test_client()
        assert [model["id"] for model in client.get("/v1/models").get_json()["data"]] == ["localphi-demo"]
        assert MINI.id not in client.get("/catalogue").get_data(as_text=True)
        assert client.post(f"/pulls/{MINI.id}", headers={"Origin": "http://localhost"}).status_code == 404
        assert client.get(f"/models/{MINI.id}/localphi.json").status_code == 404
        body = {"model": MINI.id, "messages": [{"role": "user", "content": "Hi"}]}
        answered = client.post("/v1/chat/completions", json=body)
        assert answered.status_code == 404
        assert "That is an embedding model" in answered.get_json()["error"]["message"]
    finally:
        app.extensions["localphi"].close()
    refused = CliRunner().invoke(main, ["serve", "--model", MINI.id])
    assert (refused.exit_code, "That is an embedding model" in refused.output) == (1, True)


def test_a_search_lists_them_with_their_sizes(home: Path, files: dict[str, bytes]) -> None:
    output = run("search", "embedding")[1]
    for said in (
        "all-minilm-l6-v2",
        "bge-small-en-v1.5",
        "multilingual-e5-small",
        "about 0.49 GB",
        "384 numbers",
    ):
        assert said in output
    assert "Phi" not in output
    rows = {row["id"]: row for row in json.loads(run("search", "minilm", "--json")[1])}
    assert list(rows) == [MINI.id]
    assert rows[MINI.id]["size_bytes"] == sum(
        len(data) for name, data in files.items() if MINI.place.local_name(name)
    )


@pytest.mark.parametrize(
    ("missing", "says"),
    [("1_Pooling/config.json", "has no 1_Pooling/config.json"), (GRAPH, "has no onnx/model.onnx")],
)
def test_a_repository_without_what_is_needed_is_refused(
    home: Path, hub: HubStandIn, files: dict[str, bytes], missing: str, says: str
) -> None:
    hub.add(MINI.place.repo, {name: data for name, data in files.items() if name != missing}, "f" * 40)
    code, output = run("pull", MINI.id, "--revision", "f" * 40, "--yes")
    assert (code, says in output) == (1, True)
    assert not (home / "embeddings" / MINI.id).exists()


def test_what_cannot_be_computed_is_told_before_the_graph_is_fetched(
    home: Path, hub: HubStandIn, files: dict[str, bytes]
) -> None:
    files["modules.json"] = b'[{"type": "sentence_transformers.models.Dense"}]'
    hub.add(MINI.place.repo, files, "f" * 40)
    code, output = run("pull", MINI.id, "--revision", "f" * 40, "--yes")
    assert (code, "a layer Dense behind its graph" in output, GRAPH in hub.sent) == (1, True, False)


def test_other_names_are_one_sentence(home: Path, files: dict[str, bytes]) -> None:
    for name, says in (
        (BGE.id, f"Get it with: localphi models pull {BGE.id}"),
        ("localphi-demo", "There is no embedding model 'localphi-demo'. Get one with: localphi models pull"),
    ):
        with pytest.raises(EmbeddingUnusable, match=says):
            OnnxTextEmbedding(name)
    code, output = run("pull", MINI.id, "--for", "wasm")
    assert (code, "leave out --for" in output) == (2, True)
    assert f"get it with localphi models pull {MINI.id}" in run("show", MINI.id)[1]
    run("pull", MINI.id, "--yes")
    (home / "embeddings" / MINI.id / "localphi.json").write_text("{")
    assert "cannot be read" in run("show", MINI.id)[1]
    assert MINI.id not in run("list")[1]
    with pytest.raises(EmbeddingUnusable, match="cannot be read"):
        OnnxTextEmbedding(MINI.id)
