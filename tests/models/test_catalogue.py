from __future__ import annotations

import re

import pytest

from localphi.errors import InvalidRequest, ModelNotFound
from localphi.models.catalogue import catalogue

SOURCES = [source for model in catalogue().models for source in model.sources.values()]


def test_every_folder_in_the_store_has_its_own_id() -> None:
    ids = [source.id for source in SOURCES]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) for name in ids)


def test_embedding_models_have_ids_and_repositories_of_their_own() -> None:
    embeddings = catalogue().embeddings
    assert {one.id for one in embeddings} & {source.id for source in SOURCES} == set()
    for one in embeddings:
        assert one.place.id == one.id
        assert re.fullmatch("[0-9a-f]{40}", one.place.revision or "")
        assert one.license in ("MIT", "Apache-2.0")
        assert catalogue().find_embedding(one.id.upper()) == catalogue().find_embedding(one.place.repo) == one
        assert one.place.local_name("onnx/model.onnx") == "onnx/model.onnx"
        assert one.place.local_name("onnx/model_O4.onnx") is None
    assert catalogue().find_embedding("phi-2") is None


def test_revisions_are_whole_commits_and_every_model_has_files_for_the_server() -> None:
    assert all(source.revision is None or re.fullmatch("[0-9a-f]{40}", source.revision) for source in SOURCES)
    assert all("server-cpu" in model.sources for model in catalogue().models)
    assert {model.family for model in catalogue().models} <= set(catalogue().families)


@pytest.mark.parametrize(
    ("name", "model", "devices"),
    [
        ("phi-3-mini-4k", "phi-3-mini-4k", ["server-cpu", "server-cuda", "webgpu-f16", "webgpu-f32"]),
        ("Phi-3-Mini-4K", "phi-3-mini-4k", ["server-cpu", "server-cuda", "webgpu-f16", "webgpu-f32"]),
        ("phi-3.5-mini-cuda", "phi-3.5-mini", ["server-cuda"]),
        ("microsoft/Phi-4-mini-instruct-onnx", "phi-4-mini", ["server-cpu", "server-cuda"]),
        ("microsoft/phi-3-mini-4k-instruct-onnx-web", "phi-3-mini-4k", ["webgpu-f16", "webgpu-f32"]),
    ],
)
def test_a_model_is_found_by_its_id_a_folder_or_a_repository(
    name: str, model: str, devices: list[str]
) -> None:
    found, sources = catalogue().find(name)
    assert found.id == model
    assert [source.device for source in sources] == devices


@pytest.mark.parametrize(("name", "meant"), [("phi3-mini-4k", "phi-3-mini-4k"), ("Phi4-mini", "phi-4-mini")])
def test_an_unknown_name_is_answered_with_what_may_be_meant(name: str, meant: str) -> None:
    with pytest.raises(ModelNotFound, match=f"Did you mean {re.escape(meant)}") as caught:
        catalogue().find(name)
    assert "phi-2" in caught.value.message


def test_a_device_without_files_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(InvalidRequest, match=r"phi-2 for wasm.*server-cpu, server-cuda"):
        catalogue().find("phi-2")[0].source("wasm")


def test_words_of_a_search_must_all_occur() -> None:
    assert [model.id for model in catalogue().search("PHI-4 reasoning")] == ["phi-4-mini-reasoning"]
    assert [model.id for model in catalogue().search("web 128k")] == ["phi-3.5-mini"]
    assert len(catalogue().search("")) == len(catalogue().models)
    assert catalogue().search("llama") == []


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("{}/model.onnx.data", "model.onnx.data"),
        ("{}/tokenizer.json", "tokenizer.json"),
        ("{}/configuration_phi3.py", None),
        ("{}/deeper/tokenizer.json", None),
        ("{}/../tokenizer.json", None),
        ("{}/..", None),
        ("tokenizer.json", None),
        ("/etc/tokenizer.json", None),
    ],
)
def test_only_files_right_inside_the_folder_are_wanted(name: str, local: str | None) -> None:
    source = catalogue().find("phi-4-mini")[0].source("server-cpu")
    assert source.local_name(name.format(source.folder)) == local


def test_files_for_the_browser_are_named_one_by_one() -> None:
    source = catalogue().find("phi-3-mini-4k")[0].source("webgpu-f16")
    wanted = [
        name
        for name in ("config.json", "onnx/model_q4.onnx", "onnx/model_q4f16.onnx", "README.md", "onnx/x.json")
        if source.local_name(name)
    ]
    assert wanted == ["config.json", "onnx/model_q4f16.onnx"]
