"""Answers out of one's own documents: passages are found here, and nothing leaves the machine.

reading, chunks             files as sections, sections as passages
embedding                   what an embedding model is here: `LocalEmbedding`
onnx_embedding              `OnnxTextEmbedding`: a sentence-embedding model on ONNX Runtime
token_vectors               `TokenVectorEmbedding`: vectors out of the demo model, without a download
database, table             SQLite: transactions; columns, words, vectors
ranking, filters            words and vectors as one ranking; Semantic Kernel's filters as SQL
sqlite_store                `SqliteStore` for Semantic Kernel
index                       `DocumentIndex`: a folder of documents, searched with citations
errors                      the error tree
"""

from __future__ import annotations

from localphi_agents.rag.embedding import LocalEmbedding
from localphi_agents.rag.errors import (
    EmbeddingUnusable,
    NothingToRead,
    OtherEmbedding,
    RagError,
    StoreError,
    StoreLocked,
    StoreUnusable,
    UnreadableFile,
)
from localphi_agents.rag.index import DocumentIndex, Passage, Progress, Report
from localphi_agents.rag.onnx_embedding import OnnxTextEmbedding
from localphi_agents.rag.sqlite_store import SqliteCollection, SqliteStore
from localphi_agents.rag.token_vectors import TokenVectorEmbedding

__all__ = [
    "DocumentIndex",
    "EmbeddingUnusable",
    "LocalEmbedding",
    "NothingToRead",
    "OnnxTextEmbedding",
    "OtherEmbedding",
    "Passage",
    "Progress",
    "RagError",
    "Report",
    "SqliteCollection",
    "SqliteStore",
    "StoreError",
    "StoreLocked",
    "StoreUnusable",
    "TokenVectorEmbedding",
    "UnreadableFile",
]
