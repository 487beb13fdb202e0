"""Texts as vectors: a tiny encoder on ONNX Runtime, and the demo model's own token vectors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings

from localphi_agents.rag import EmbeddingUnusable, OnnxTextEmbedding, TokenVectorEmbedding
from rag_files import VOCABULARY, write_encoder
from serving import DEMO


def direction(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in text.split()]


async def test_the_mean_of_the_tokens_is_the_vector_whatever_else_is_in_the_batch(tmp_path: Path) -> None:
    table = write_encoder(tmp_path)
    embedding = OnnxTextEmbedding(tmp_path, batch_size=2)
    texts = ["cat sleeps", "dog", "car drives dog cat fish", "cat"]
    vectors = await embedding.generate_embeddings(texts)
    assert vectors.shape == (4, embedding.dimensions)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, direction(table[ids(text)].mean(axis=0)), atol=1e-6)


@pytest.mark.parametrize(("pooling", "place"), [("cls_token", 0), ("lasttoken", -1)])
def test_pooling_is_what_the_folder_says(tmp_path: Path, pooling: str, place: int) -> None:
    table = write_encoder(tmp_path, pooling=pooling)
    vectors = OnnxTextEmbedding(tmp_path).embed(["cat sleeps", "dog drives car fish"])
    for text, vector in zip(("cat sleeps", "dog drives car fish"), vectors, strict=True):
        np.testing.assert_allclose(vector, direction(table[ids(text)[place]]), atol=1e-6)


def test_vectors_that_the_graph_has_pooled_are_taken_as_they_are(tmp_path: Path) -> None:
    table = write_encoder(tmp_path, output="sentence_embedding")
    vector = OnnxTextEmbedding(tmp_path).embed(["cat dog"])[0]
    np.testing.assert_allclose(vector, direction(table[ids("cat dog")].max(axis=0)), atol=1e-6)


def test_a_folder_as_on_the_hub_has_its_graph_one_folder_down(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    before = OnnxTextEmbedding(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "model.onnx").rename(tmp_path / "onnx" / "model.onnx")
    after = OnnxTextEmbedding(tmp_path)
    assert after.identity == before.identity
    assert OnnxTextEmbedding(tmp_path, file="onnx/model.onnx").identity == before.identity
    np.testing.assert_array_equal(after.embed(["cat"]), before.embed(["cat"]))


def test_long_texts_are_cut_where_the_folder_says(tmp_path: Path) -> None:
    table = write_encoder(tmp_path, max_length=2)
    vector = OnnxTextEmbedding(tmp_path).embed(["cat dog " + "car " * 1000])[0]
    np.testing.assert_allclose(vector, direction(table[ids("cat dog")].mean(axis=0)), atol=1e-6)


def test_questions_and_passages_get_their_prompts(tmp_path: Path) -> None:
    table = write_encoder(tmp_path)
    prompts = {"prompts": {"query": "query ", "document": "passage "}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    embedding = OnnxTextEmbedding(tmp_path)
    for kind in ("query", "passage"):
        vector = embedding.embed(["cat"], kind)[0]
        np.testing.assert_allclose(vector, direction(table[ids(f"{kind} cat")].mean(axis=0)), atol=1e-6)


def test_nothing_and_texts_without_words_have_vectors_too(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    embedding = OnnxTextEmbedding(tmp_path)
    assert embedding.embed([]).shape == (0, 8)
    assert not embedding.embed([""]).any()
    assert TokenVectorEmbedding().embed(["", "!?"]).tolist() == [[0.0] * 256] * 2


def test_the_identity_tells_models_and_ways_apart(tmp_path: Path) -> None:
    write_encoder(tmp_path / "a")
    write_encoder(tmp_path / "b" / "a", seed=1)
    made = [
        OnnxTextEmbedding(tmp_path / "a"),
        OnnxTextEmbedding(tmp_path / "b" / "a"),
        OnnxTextEmbedding(tmp_path / "a", pooling="cls"),
        OnnxTextEmbedding(tmp_path / "a", max_length=9),
        OnnxTextEmbedding(tmp_path / "a", query_prompt="query: "),
    ]
    assert len({embedding.identity for embedding in made}) == len(made)
    assert OnnxTextEmbedding(tmp_path / "a").identity == made[0].identity


async def test_the_event_loop_runs_on_and_threads_may_share_it(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    embedding = OnnxTextEmbedding(tmp_path)
    texts = ["cat sleeps " * 200] * 400
    work = [asyncio.create_task(embedding.generate_embeddings(texts)) for _ in range(3)]
    turns = 0
    while not all(task.done() for task in work):
        await asyncio.sleep(0.001)
        turns += 1
    first, *others = [await task for task in work]
    assert all((vectors == first).all() for vectors in others)
    assert turns > 20  # a few, where the loop has to wait for the work


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "is no tokenizer"),
        (lambda folder: (folder / "model.onnx").unlink(), "has no model.onnx"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no"), "cannot be loaded"),
        (lambda folder: (folder / "sentence_bert_config.json").write_text("no"), "is not JSON"),
    ],
    ids=["no tokenizer", "damaged tokenizer", "no graph", "damaged graph", "damaged settings"],
)
def test_a_folder_that_is_no_model_is_one_sentence(tmp_path: Path, damage: object, says: str) -> None:
    write_encoder(tmp_path)
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(EmbeddingUnusable, match=says):
        OnnxTextEmbedding(tmp_path)


def test_other_poolings_and_no_folder_are_one_sentence(tmp_path: Path) -> None:
    write_encoder(tmp_path, pooling="weightedmean_tokens")
    with pytest.raises(EmbeddingUnusable, match="another pooling"):
        OnnxTextEmbedding(tmp_path)
    with pytest.raises(EmbeddingUnusable, match="is none"):
        OnnxTextEmbedding(tmp_path / "missing")


def test_a_language_model_is_no_sentence_embedding(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingUnusable, match="a model that chats"):
        OnnxTextEmbedding(DEMO)
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json"):
        (tmp_path / name).symlink_to(DEMO / name)
    with pytest.raises(EmbeddingUnusable, match="past_key_values"):
        OnnxTextEmbedding(tmp_path)


def test_a_layer_behind_the_pooling_is_told_and_not_left_out(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    modules = [
        {"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Dense")
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EmbeddingUnusable, match="a layer Dense behind its graph"):
        OnnxTextEmbedding(tmp_path)
    (tmp_path / "modules.json").write_text("[3]")
    with pytest.raises(EmbeddingUnusable, match="is not a list of modules"):
        OnnxTextEmbedding(tmp_path)


def test_the_demo_models_words_are_nearer_to_their_like() -> None:
    embedding = TokenVectorEmbedding()
    query, near, far = embedding.embed(
        ["How do I install it?", "To install it, pip is enough", "The page has a dark mode"]
    )
    assert query @ near > query @ far
    np.testing.assert_allclose(np.linalg.norm(query), 1, atol=1e-5)
    assert "localphi-demo" in embedding.identity


async def test_a_kernel_takes_it_as_its_service(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    embedding = OnnxTextEmbedding(tmp_path, service_id="mine")
    kernel = Kernel()
    kernel.add_service(embedding)
    service = kernel.get_service("mine", type=OnnxTextEmbedding)
    vectors = await service.generate_raw_embeddings(["cat"], PromptExecutionSettings())
    np.testing.assert_array_equal(vectors, embedding.embed(["cat"]))


def test_a_model_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(EmbeddingUnusable, match="phi-9"):
        TokenVectorEmbedding("phi-9")
