"""What replicas are told: settings as plain values, and the model that they need on their node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localphi.config import Settings
from localphi.errors import ModelNotFound, ServerStartFailed
from localphi.models.hub import Hub
from localphi.models.pull import pull_once
from localphi.models.store import ModelStore


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Settings from the plain values of a configuration. Raises ServerStartFailed for an unknown one."""
    known = dict(values)
    for name in ("home", "page_dir", "key_file"):
        if name in known:
            known[name] = Path(known[name]).expanduser()
    for name in ("allow_hosts", "allow_origins"):
        if name in known:
            known[name] = tuple(known[name])
    try:
        return Settings.from_environment(**known)
    except (TypeError, ValueError) as error:
        raise ServerStartFailed(f"The arguments of the Ray application are wrong: {error}.") from error


def plain(settings: Settings) -> dict[str, Any]:
    """What a replica needs of the settings, as plain values: no keys, nothing of HTTP."""
    return {
        "home": str(settings.home),
        "model": settings.model,
        "backend": settings.backend,
        "threads": settings.threads,
        "max_active": settings.max_active,
        "max_requests": settings.max_requests,
        "kv_budget_bytes": settings.kv_budget_bytes,
        "idle_unload_s": 0.0,
        **({"provider": settings.provider} if settings.provider else {}),
        **({"trace_to": settings.trace_to} if settings.trace_to else {}),
    }


def have_model(settings: Settings, hub: Hub | None = None) -> None:
    """Fetch the model unless the store has it; of all who want it on a node, one does. Hashes are compared.

    Raises ModelNotFound for one that is not in the catalogue, or PullFailed.
    """
    store = ModelStore(settings.home)
    try:
        store.pin(settings.model)
    except ModelNotFound:
        pull_once(store, hub or Hub(token=settings.hub_token), settings.model)
