from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localphi.errors import ModelFolderInvalid
from localphi.models.manifest import (
    MANIFEST_NAME,
    PagedGraph,
    describe_file,
    load_manifest,
    write_manifest,
)
from serving import DEMO


def test_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    manifest = load_manifest(DEMO)
    write_manifest(tmp_path, manifest)
    assert load_manifest(tmp_path) == manifest


def test_a_variant_may_have_a_paged_graph(tmp_path: Path) -> None:
    manifest = load_manifest(DEMO)
    variant = manifest.variants["server-cpu"]
    paged = PagedGraph("model.onnx", block_tokens=16, max_sequence_tokens=2048)
    with_it = {"server-cpu": replace(variant, paged=paged), "wasm": replace(variant, paged=None)}
    write_manifest(tmp_path, replace(manifest, variants=with_it))
    assert load_manifest(tmp_path).variants == with_it
    document = json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))
    assert "paged" not in document["variants"]["wasm"]


@pytest.mark.parametrize(("size", "chunks"), [(0, 1), (9, 1), (10, 1), (11, 2), (25, 3)])
def test_a_file_is_described_by_its_size_and_the_hash_of_every_chunk(
    tmp_path: Path, size: int, chunks: int
) -> None:
    data = bytes(range(size))
    (tmp_path / "file").write_bytes(data)
    seen: list[int] = []
    entry = describe_file(tmp_path / "file", chunk_bytes=10, on_bytes=seen.append)
    assert entry.size == sum(seen) == size
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    pieces = [data[start : start + 10] for start in range(0, max(size, 1), 10)]
    assert entry.chunks == tuple(hashlib.sha256(piece).hexdigest() for piece in pieces)
    assert len(entry.chunks) == chunks


def _broken(tmp_path: Path, change: Any) -> Path:
    document = json.loads((DEMO / MANIFEST_NAME).read_text(encoding="utf-8"))
    change(document)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def _paged(**change: Any) -> dict[str, Any]:
    return {"graph": "model.onnx", "block_tokens": 16, "max_sequence_tokens": 2048} | change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("id"), "'id' is missing"),
        (lambda d: d.update(id="../x"), "'../x'"),
        (lambda d: d.update(schema=2), "schema 2"),
        (lambda d: d.update(context_length=0), "context_length"),
        (lambda d: d.update(context_length=float("inf")), "context_length"),
        (lambda d: d.update(chunk_bytes=0), "chunk_bytes"),
        (lambda d: d.update(system_prompt=5), "system_prompt"),
        (lambda d: d["sampling"].update(temperature="hot"), "hot"),
        (lambda d: d["sampling"].update(temperature=-1), "temperature"),
        (lambda d: d["sampling"].update(top_k=-5), "top_k"),
        (lambda d: d["files"]["model.onnx"].update(size=-1), "size"),
        (lambda d: d["files"].update({"C:/Windows/win.ini": d["files"]["model.onnx"]}), "leaves the model"),
        (lambda d: d["prompt_format"]["control"].append(""), "control"),
        (lambda d: d["prompt_format"]["roles"].pop("system"), "no role system"),
        (lambda d: d["prompt_format"]["roles"].update(user="ab"), "a pair of texts"),
        (lambda d: d["files"].update({"../evil": d["files"]["model.onnx"]}), "leaves the model folder"),
        (lambda d: d["files"].update({"/evil": d["files"]["model.onnx"]}), "leaves the model folder"),
        (lambda d: d["variants"]["wasm"]["files"].append("other.onnx"), "'other.onnx'"),
        (lambda d: d["variants"]["wasm"].update(paged=_paged(graph="gone.onnx")), "'gone.onnx'"),
        (lambda d: d["variants"]["wasm"].update(paged=_paged(block_tokens=0)), "block_tokens"),
        (lambda d: d["variants"]["wasm"].update(paged={"graph": "model.onnx"}), "'block_tokens' is missing"),
        (lambda d: d["prompt_format"]["roles"].update(user=["<|user|>"]), "a pair of texts"),
    ],
)
def test_a_broken_manifest_is_refused_with_what_is_wrong(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(ModelFolderInvalid, match=r"localphi\.json") as caught:
        load_manifest(_broken(tmp_path, change))
    assert said in caught.value.message


def test_a_folder_without_a_manifest_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderInvalid, match=r"it has no localphi\.json"):
        load_manifest(tmp_path)


def test_the_demo_manifest_lists_every_added_token_as_control() -> None:
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["content"] for token in tokenizer["added_tokens"]}
    assert added == set(load_manifest(DEMO).prompt_format.control)


def test_the_demo_model_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in DEMO.iterdir()) <= 15_000_000


@pytest.mark.parametrize(
    ("devices", "served"),
    [(["wasm", "server-cpu"], True), (["server-cuda", "wasm"], True), (["webgpu-f16", "wasm"], False)],
)
def test_the_server_computes_with_a_variant_of_its_own(devices: list[str], served: bool) -> None:
    variant = replace(load_manifest(DEMO).variants["server-cpu"], canary=None)
    manifest = replace(load_manifest(DEMO), variants=dict.fromkeys(devices, variant))
    assert manifest.server_variant == (variant if served else None)


def test_a_variant_may_come_without_a_canary(tmp_path: Path) -> None:
    folder = _broken(tmp_path, lambda document: document["variants"]["wasm"].update(canary=None))
    manifest = load_manifest(folder)
    assert manifest.variants["wasm"].canary is None
    write_manifest(tmp_path, manifest)
    assert load_manifest(tmp_path) == manifest
