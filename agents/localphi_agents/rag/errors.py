"""What can go wrong with documents.

    RagError
    ├── EmbeddingUnusable    a folder is no embedding model, or its graph gives no vectors
    ├── NothingToRead        the folder of documents is none, or holds no document
    ├── UnreadableFile       one file has no text for us; the others go on
    └── StoreError
        ├── StoreUnusable      the file is no store of ours, or its disk does not let us write
        ├── StoreLocked        another program holds it for too long
        └── OtherEmbedding     its vectors were made by another embedding model

Each is one sentence.
"""

from __future__ import annotations


class RagError(Exception):
    """No passages, or none that can be trusted."""


class EmbeddingUnusable(RagError):
    pass


class NothingToRead(RagError):
    pass


class UnreadableFile(RagError):
    pass


class StoreError(RagError):
    pass


class StoreUnusable(StoreError):
    pass


class StoreLocked(StoreError):
    pass


class OtherEmbedding(StoreError):
    def __init__(self, collection: str, stored: str, given: str) -> None:
        super().__init__(
            f"The vectors of {collection!r} were made with {stored}, but {given} is used now. "
            "Use the same embedding model, or another database."
        )
        self.stored = stored
        self.given = given
