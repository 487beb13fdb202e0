"""Where answers are computed when it is not here: the models there, and an engine for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localphi.config import EngineName, Settings
from localphi.engine.base import WorkerSpec
from localphi.engine.client import MakeEngine
from localphi.engine.far import FarEngine, Pool
from localphi.engine.queueing import Places
from localphi.engine.upstream_models import UpstreamStore
from localphi.engine.upstreams import UpstreamPool, Upstreams
from localphi.errors import KeysUnusable
from localphi.models.store import ModelFolder, ModelStore


@dataclass(frozen=True)
class Elsewhere:
    """close: ends what was begun for it here."""

    store: ModelStore
    make_engine: MakeEngine
    close: Callable[[], object]


def upstream_servers(settings: Settings) -> Elsewhere:
    """The servers of the settings. Raises ServerStartFailed, or KeysUnusable for a file without a key."""
    upstreams = Upstreams(settings.upstreams, _key(settings.upstream_key, settings.upstream_key_file))
    store = UpstreamStore(settings.home, upstreams, settings.model)
    return Elsewhere(
        store, engines_of("remote", lambda model: UpstreamPool(upstreams, model)), upstreams.close
    )


def engines_of(name: EngineName, pool_of: Callable[[str], Pool]) -> MakeEngine:
    """Makes engines. pool_of: who computes the answers of a model."""

    def make(folder: ModelFolder, places: Places) -> FarEngine:
        spec = WorkerSpec(folder.id, folder.path, False, "auto", 0, 0, 0, where=name)
        return FarEngine(spec, places, pool_of(folder.id))

    return make


def _key(key: str, file: Path | None) -> str:
    if file is None:
        return key
    try:
        found = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise KeysUnusable(f"The upstream key cannot be read from {file}: {error}.") from error
    if not found or any(char.isspace() for char in found):
        raise KeysUnusable(f"{file} must hold one access key and nothing else.")
    return found
