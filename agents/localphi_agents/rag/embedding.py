"""Texts as vectors, off the event loop, for Semantic Kernel and for the documents here."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from semantic_kernel.connectors.ai.embedding_generator_base import EmbeddingGeneratorBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings

Kind = Literal["query", "passage"]
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


class LocalEmbedding(EmbeddingGeneratorBase):
    """An embedding model of this machine. Many threads may ask it at once.

    Semantic Kernel makes no difference between what is searched and what is searched for; the model families
    E5 and BGE do. `kind` tells it, and the store here passes it on.
    """

    @property
    @abstractmethod
    def identity(self) -> str:
        """What model makes these vectors, and how. Vectors of different identities are never compared."""

    @property
    @abstractmethod
    def dimensions(self) -> int: ...

    @property
    def hybrid_weight(self) -> float:
        """How much its ranking counts beside that of words, which counts 1."""
        return 1.0

    @abstractmethod
    def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Vectors:
        """(B, D), each of length 1; a text without any word has zeros. Raises EmbeddingUnusable."""

    async def generate_embeddings(
        self,
        texts: list[str],
        settings: PromptExecutionSettings | None = None,
        *,
        kind: Kind = "passage",
        **kwargs: Any,
    ) -> Vectors:
        return await asyncio.to_thread(self.embed, texts, kind)


def unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    """Vectors of length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), dtype=np.float32)
