"""LoRA adapters in the worker: the model's graph that takes them, loaded when one is first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnxruntime_genai as og

from localphi.errors import AdapterInvalid
from localphi.models.adapters import Adapter, AdapterStore, check_base
from localphi.models.manifest import Manifest

MAX_LOADED = 16  # more only where answers at work, or kept caches, need them

LoadModel = Callable[[str], Any]
"""The og.Model of the folder, with another graph over the same weights."""


class LoadedAdapters:
    """model: the og.Model whose generators can have an adapter; None until one was wanted.

    The one that was wanted least recently goes when there are more than `most`.
    """

    def __init__(
        self, home: Path | None, manifest: Manifest, load_model: LoadModel, most: int = MAX_LOADED
    ) -> None:
        self._store = AdapterStore(home) if home else None
        self._manifest = manifest
        self._load_model = load_model
        self._loaded: Any = None
        self._known: dict[str, Adapter] = {}
        self._keys: dict[str, None] = {}  # of those that are loaded, in the order in which they were wanted
        self._most = most
        self.model: Any = None

    def key(self, name: str) -> str:
        """Load an adapter unless it is there. Gives what `put` takes.

        Raises AdapterNotFound, or AdapterInvalid for one that is broken or another model's.
        """
        variant = self._manifest.server_variant
        if self._store is None or variant is None or variant.lora is None:
            raise AdapterInvalid(f"The model '{self._manifest.id}' cannot take adapters.")
        adapter = self._store.get(self._manifest.id, name)
        check_base(adapter, self._manifest)
        if self.model is None:
            self.model = self._load_model(variant.lora.graph)
            self._loaded = og.Adapters(self.model)
        self._load(adapter)
        self._known[adapter.key] = adapter
        return adapter.key

    def _load(self, adapter: Adapter) -> None:
        if adapter.key not in self._keys:
            _check_weights(adapter)
            self._make_room()
            self._loaded.load(str(adapter.weights), adapter.key)
        self._keys.pop(adapter.key, None)
        self._keys[adapter.key] = None

    def _make_room(self) -> None:
        """Unload those wanted least recently. GenAI refuses where a generator has it."""
        for key in list(self._keys):
            if len(self._keys) < self._most:
                return
            with suppress(RuntimeError):
                self._loaded.unload(key)
                del self._keys[key]

    def put(self, generator: Any, key: str) -> None:
        """Let a generator of `model`, which has read nothing yet, answer with an adapter.

        It is loaded once more where it had to go while its answer waited.
        """
        self._load(self._known[key])
        generator.set_active_adapter(self._loaded, key)


def _check_weights(adapter: Adapter) -> None:
    """ONNX Runtime maps the file, and believes it."""
    if hashlib.sha256(adapter.weights.read_bytes()).hexdigest() != adapter.info.sha256:
        raise AdapterInvalid(
            f"The file {adapter.weights} is damaged. Remove the adapter, and convert it again."
        )
