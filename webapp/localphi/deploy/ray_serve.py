"""localphi on Ray Serve: replicas that hold the engine's worker, and whoever asks them.

    localphi serve --engine ray          a Ray of its own on this machine, its replicas behind our own server
    serve deploy serve.yaml              the same in a cluster, behind Ray's proxy (`application` below)

Ray places, starts, replaces, scales and updates replicas, and says which one is asked. What it does not do is
ours: an answer whose replica is killed goes on in another one by its token ids (`engine/far.py`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from localphi.config import Settings, quiet_ray
from localphi.errors import ServerStartFailed, ToolchainMissing

quiet_ray()

try:
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException
except ImportError as error:
    raise ToolchainMissing("Ray", "ray") from error

from localphi.chat import ChatRequest  # noqa: E402  Ray reads the environment when it is imported
from localphi.deploy.ingress import ingress  # noqa: E402
from localphi.deploy.pool import elsewhere  # noqa: E402
from localphi.deploy.replica import Batch, Replica  # noqa: E402
from localphi.deploy.scale import Scale  # noqa: E402
from localphi.deploy.values import have_model, plain, settings_of  # noqa: E402
from localphi.engine.base import Failed, Question, Reply  # noqa: E402
from localphi.engine.elsewhere import Elsewhere  # noqa: E402

APPLICATION = "localphi"
REPLICA = "Replica"


@serve.deployment(name=REPLICA)
class RayReplica:
    """What Ray calls of a replica. values: fields of Settings. pull: fetch a model that its node lacks."""

    def __init__(self, values: Mapping[str, Any], pull: bool = False) -> None:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # one line for each request, else
        context = serve.get_replica_context()
        settings = settings_of(values)
        if pull:
            have_model(settings)
        self._replica = Replica(settings, context.replica_id.unique_id)
        self._replica.load()

    async def answer(self, request: ChatRequest) -> AsyncIterator[Batch]:
        async for batch in self._replica.answer(request):
            yield batch

    async def reply(self, question: Question) -> Reply | Failed:
        return await self._replica.reply(question)

    def record_routing_stats(self) -> dict[str, Any]:
        """What Ray asks now and then, also of a replica that is full, and passes on to every front."""
        return asdict(self._replica.counts())

    def check_health(self) -> None:
        self._replica.check()

    def __del__(self) -> None:
        with suppress(AttributeError):  # when __init__ has failed
            self._replica.close()


def replicas(values: Mapping[str, Any], scale: Scale, pull: bool = False) -> Any:
    """The deployment that Ray runs: `scale` as Ray's options."""
    deployment: Any = RayReplica
    return deployment.options(**scale.options()).bind(dict(values), pull)


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
        with _told_as_ours():
            serve.start(proxy_location=where, http_options=http, logging_config={"log_level": "ERROR"})
        handle = deploy(values, scale)
    except BaseException:
        stop()
        raise
    return elsewhere(settings, handle, stop)


def deploy(values: Mapping[str, Any], scale: Scale) -> Any:
    """Run the replicas, or update those that run, one after the other. The handle to them."""
    with _told_as_ours():
        return serve.run(replicas(values, scale), name=APPLICATION, route_prefix=None)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """Raises ServerStartFailed for whatever Ray says."""
    try:
        yield
    except (RayError, RayServeException, RuntimeError) as error:
        raise ServerStartFailed(f"Ray cannot start the replicas: {str(error)[:500]}") from error


def stop() -> None:
    """End the replicas, and Ray."""
    with suppress(Exception):  # whatever is gone already
        serve.shutdown()
    ray.shutdown()


def application(args: dict[str, Any]) -> Any:
    """What `import_path` of serve.yaml names: the API in front of the replicas, behind Ray's proxy."""
    args = dict(args)
    scale, pull = Scale(**args.pop("scale", {})), bool(args.pop("pull", False))
    front = {name: args.pop(name) for name in ("host", "allow_hosts", "allow_origins") if name in args}
    return ingress(args | front, replicas(plain(settings_of(args)), scale, pull), pull)
