"""How often the right passage of this project's pages is found: by words, by vectors, by both.

    python tests/bench/bench_retrieval.py [--embeddings FOLDER]

Questions and what a right passage holds: tests/retrieval_set.py. Also how long a search takes with many
passages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [
    str(Path(__file__).parents[1 + up]) + sub for up, sub in ((0, ""), (1, "/webapp"), (1, "/agents"))
]

from localphi_agents.rag import DocumentIndex, LocalEmbedding, OnnxTextEmbedding, TokenVectorEmbedding
from localphi_agents.rag.database import Database
from localphi_agents.rag.table import Column, Table, VectorColumn
from retrieval_set import PAGES, ROOT, Question, questions, rank, recall_and_mrr

WAYS: dict[str, tuple[float, float | None]] = {
    "words (FTS5)": (1, 0),
    "vectors": (0, 1),
    "hybrid, both alike": (1, 1),
    "hybrid, as the embedding says": (1, None),
}


async def quality(embedding: LocalEmbedding, asked: list[Question]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        for page in PAGES:
            copy = Path(place, page)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / page, copy)
        with DocumentIndex(place, embedding=embedding) as index:
            began = time.perf_counter()
            await index.update()
            result: dict[str, Any] = {"read_s": round(time.perf_counter() - began, 2)}
            for way, (words, vectors) in WAYS.items():
                ranks, times = [], []
                for question in asked:
                    began = time.perf_counter()
                    found = await index.search(question.text, 10, word_weight=words, vector_weight=vectors)
                    times.append(time.perf_counter() - began)
                    ranks.append(rank([passage.text for passage in found], question))
                recall, mrr = recall_and_mrr(ranks)
                result[way] = {
                    "recall_at_5": round(recall, 3),
                    "mrr": round(mrr, 3),
                    "median_ms": round(1000 * statistics.median(times), 1),
                }
    return result


def speed(rows: int, dimensions: int = 256) -> dict[str, float]:
    """Seconds of the first search, which reads the vectors, and milliseconds of one after it."""
    draw = np.random.default_rng(0)
    column = VectorColumn("vector", dimensions)
    table = Table("speed", Column("id"), [Column("text", words=True)], [column])
    words = [f"word{n}" for n in range(5000)]
    with tempfile.TemporaryDirectory() as place, Database(Path(place, "speed.db")) as database:
        with database.writing() as connection:
            table.create(connection)
            made = (
                {
                    "id": str(n),
                    "text": " ".join(draw.choice(words, 60)),
                    "vector": draw.standard_normal(dimensions, np.float32),
                }
                for n in range(rows)
            )
            table.write(connection, made)
        times = []
        for _ in range(21):
            vector = draw.standard_normal(dimensions, np.float32)
            began = time.perf_counter()
            with database.reading() as connection:
                table.hybrid(
                    connection, "word1 word2 word3", column, vector, 5, word_weight=1, vector_weight=1
                )
            times.append(time.perf_counter() - began)
    return {"first_s": round(times[0], 3), "median_ms": round(1000 * statistics.median(times[1:]), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", help="folder of a sentence-embedding model in ONNX")
    parser.add_argument("--rows", default="1000,10000,100000", help="how many passages for the speed")
    given = parser.parse_args()
    embedding = OnnxTextEmbedding(given.embeddings) if given.embeddings else TokenVectorEmbedding()
    asked = questions()
    result = asyncio.run(quality(embedding, asked))
    print(f"{len(asked)} questions, {embedding.identity}, read in {result['read_s']} s\n")
    print("| way | recall@5 | MRR | a search |\n| --- | --- | --- | --- |")
    for way in WAYS:
        line = result[way]
        print(f"| {way} | {line['recall_at_5']:.2f} | {line['mrr']:.2f} | {line['median_ms']} ms |")
    print("\n| passages | first hybrid search | one after it |\n| --- | --- | --- |")
    for rows in (int(one) for one in given.rows.split(",") if one):
        result[f"{rows} rows"] = told = speed(rows)
        print(f"| {rows:,} | {told['first_s']} s | {told['median_ms']} ms |")
    print("\n" + json.dumps({"questions": len(asked), **result}))


if __name__ == "__main__":
    main()
