"""localphi on Ray Serve: replicas that hold the engine's worker, and whoever asks them.

    localphi serve --engine ray          a Ray of its own on this machine, its replicas behind our own server
    serve deploy serve.yaml              the same in a cluster, behind Ray's proxy (`application` below)

Ray places, starts, replaces, scales and updates replicas, and says which one is asked. What it does not do is
ours: an answer whose replica is killed goes on in another one by its token ids (`engine/far.py`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localphi.config import Settings, quiet_ray
from localphi.errors import (
    LocalphiError,
    ServerStartFailed,
    ToolchainMissing,
    UpstreamBusy,
    UpstreamUnreachable,
)

quiet_ray()

try:
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import BackPressureError, RayServeException, RequestCancelledError
except ImportError as error:
    raise ToolchainMissing("Ray", "ray") from error

from localphi.chat import ChatRequest  # noqa: E402  Ray reads the environment when it is imported
from localphi.deploy.replica import Batch, Replica  # noqa: E402
from localphi.deploy.scale import Scale  # noqa: E402
from localphi.engine.base import Event, Failed, Question, Reply  # noqa: E402
from localphi.engine.elsewhere import Elsewhere, engines_of  # noqa: E402
from localphi.engine.far import Call, Lost  # noqa: E402
from localphi.models.store import ModelStore  # noqa: E402

APPLICATION = "localphi"
REPLICA = "Replica"
_LOST = "a replica"
_RETRY_AFTER_S = 5
_NEWEST = 0.2
_REPLY_S = 30.0


@serve.deployment(name=REPLICA)
class RayReplica:
    """What Ray calls of a replica. values: fields of Settings."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # one line for each request, else
        context = serve.get_replica_context()
        self._replica = Replica(settings_of(values), context.replica_id.unique_id)
        self._replica.load()

    async def answer(self, request: ChatRequest) -> AsyncIterator[Batch]:
        async for batch in self._replica.answer(request):
            yield batch

    async def reply(self, question: Question) -> Reply | Failed:
        return await self._replica.reply(question)

    def counts(self, request: ChatRequest | None = None) -> dict[str, Any]:
        """Of the replica that would answer the request."""
        return asdict(self._replica.counts())

    def check_health(self) -> None:
        self._replica.check()

    def __del__(self) -> None:
        with suppress(AttributeError):  # when __init__ has failed
            self._replica.close()


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


def replicas(values: Mapping[str, Any], scale: Scale) -> Any:
    """The deployment that Ray runs: `scale` as Ray's options."""
    deployment: Any = RayReplica
    return deployment.options(**scale.options()).bind(dict(values))


class RayPool:
    """The replicas as whoever computes answers. handle: Ray's, to the deployment."""

    def __init__(self, handle: Any) -> None:
        self._streams = handle.options(stream=True)
        self._handle = handle
        self._mean_s = 1.0

    @property
    def failure(self) -> LocalphiError | None:
        """Ray starts again what has died; until then requests wait."""
        return None

    def open(self, request: ChatRequest, lost_at: Sequence[str], full_at: Sequence[str]) -> Call | None:
        return None if full_at else _RayCall(self, self._streams.answer.remote(request))

    def reply(self, question: Question) -> Reply:
        try:
            reply = self._handle.reply.remote(question).result(timeout_s=_REPLY_S)
        except (RayError, RayServeException, TimeoutError) as error:
            raise UpstreamUnreachable("no replica replies", _RETRY_AFTER_S) from error
        if isinstance(reply, Failed):
            raise reply.error
        return reply  # type: ignore[no-any-return]

    def took(self, seconds: float) -> None:
        self._mean_s += _NEWEST * (seconds - self._mean_s)

    @property
    def retry_after_s(self) -> int:
        return min(max(1, math.ceil(self._mean_s)), 60)


class _RayCall:
    """An answer of a replica."""

    tells_ids = True

    def __init__(self, pool: RayPool, batches: Any) -> None:
        self._pool = pool
        self._batches = batches

    def __iter__(self) -> Iterator[Event]:
        began_s = time.monotonic()
        try:
            for batch in self._batches:
                yield from batch
            self._pool.took(time.monotonic() - began_s)
        except BackPressureError as error:
            raise UpstreamBusy(self._pool.retry_after_s, "ray") from error
        except (RayError, RayServeException, RequestCancelledError) as error:
            raise Lost(_LOST, f"its replica was lost ({type(error).__name__})") from error

    def close(self) -> None:
        with suppress(Exception):  # one that is over, or a Ray that has ended
            self._batches.cancel()


def elsewhere(settings: Settings, handle: Any, close: Callable[[], object] = lambda: None) -> Elsewhere:
    """The replicas behind a handle, for an application. Manifests come from this machine's store."""
    pool = RayPool(handle)
    store = OneModel(settings)
    return Elsewhere(store, engines_of("ray", lambda _: pool), close)


class OneModel(ModelStore):
    """The store of replicas that hold one model."""

    def __init__(self, settings: Settings) -> None:
        pinned = ModelStore(settings.home).pin(settings.model).default()
        super().__init__(settings.home, pinned=pinned)
        self._only = pinned

    def folders(self) -> list[Any]:
        return [self._only]


def start(settings: Settings, scale: Scale, proxy_port: int | None = None) -> Elsewhere:
    """A Ray of this machine's own, with replicas of the settings' model. Returns when they can answer.

    proxy_port: where Ray's HTTP proxy listens, None for no proxy. Everything is on loopback, without
    dashboard and usage statistics, and ends with the Elsewhere.
    """
    values = plain(settings)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if not ray.is_initialized():
        ray.init(
            address="local",
            num_cpus=math.ceil(scale.num_cpus * (scale.max_replicas + 1)) + 1,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=128 * 1024**2,
        )
    try:
        http = {"host": "127.0.0.1", "port": proxy_port} if proxy_port else None
        where = "HeadOnly" if http else "Disabled"
        serve.start(proxy_location=where, http_options=http, logging_config={"log_level": "ERROR"})
        handle = deploy(values, scale)
    except BaseException:
        stop()
        raise
    return elsewhere(settings, handle, stop)


def deploy(values: Mapping[str, Any], scale: Scale) -> Any:
    """Run the replicas, or update those that run, one after the other. The handle to them."""
    try:
        return serve.run(replicas(values, scale), name=APPLICATION, route_prefix=None)
    except (RayError, RayServeException, RuntimeError) as error:
        raise ServerStartFailed(f"Ray cannot start the replicas: {str(error)[:500]}") from error


def stop() -> None:
    """End the replicas, and Ray."""
    with suppress(Exception):  # whatever is gone already
        serve.shutdown()
    ray.shutdown()


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
    }


def application(args: dict[str, Any]) -> Any:
    """What `import_path` of serve.yaml names: the API in front of the replicas, behind Ray's proxy."""
    from localphi.deploy.ingress import ingress

    args = dict(args)
    scale = Scale(**args.pop("scale", {}))
    front = {name: args.pop(name) for name in ("host", "allow_hosts", "allow_origins") if name in args}
    return ingress(args | front, replicas(plain(settings_of(args)), scale))
