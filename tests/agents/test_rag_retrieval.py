"""Whether passages of this project's pages are found, on the questions of tests/retrieval_set.py."""

from __future__ import annotations

import shutil
from pathlib import Path

from localphi_agents.rag import DocumentIndex
from retrieval_set import PAGES, ROOT, Question, questions, rank, recall_and_mrr

# Measured: 0.77 and 0.58 (tests/bench/RESULTS.md). The pages go on changing, and each question is 0.017.
FLOOR_RECALL, FLOOR_MRR = 0.65, 0.48


async def test_the_right_passage_is_found(tmp_path: Path) -> None:
    for page in PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    asked = questions()
    assert len(asked) >= 40, "too many answers have left the pages; write new questions"
    with DocumentIndex(tmp_path) as index:
        await index.update()

        async def score(question: Question, words: float, vectors: float | None) -> int | None:
            found = await index.search(question.text, 10, word_weight=words, vector_weight=vectors)
            return rank([passage.text for passage in found], question)

        hybrid = recall_and_mrr([await score(question, 1, None) for question in asked])
        vectors = recall_and_mrr([await score(question, 0, 1) for question in asked])
    assert hybrid[0] >= FLOOR_RECALL
    assert hybrid[1] >= FLOOR_MRR
    assert vectors[0] >= 0.3  # among 200 passages; by chance it would be 0.03
    assert hybrid[1] > vectors[1]
