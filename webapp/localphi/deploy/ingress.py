"""The application behind Ray's HTTP proxy: page, API and security as everywhere, in threads of a replica."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from localphi import create_app
from localphi.deploy.bridge import Bridge
from localphi.deploy.pool import elsewhere
from localphi.deploy.values import have_model, settings_of

_SPARE_THREADS = 8


@serve.deployment(name="Ingress", num_replicas=1, max_ongoing_requests=1000)
class Ingress:
    """values: fields of Settings. handle: to the replicas. pull: as theirs, for the page has models, too."""

    def __init__(self, values: Mapping[str, Any], handle: Any, pull: bool = False) -> None:
        settings = settings_of(values)
        if pull:
            have_model(settings)
        app = create_app(settings, elsewhere(settings, handle))
        self._bridge = Bridge(app, settings.max_requests + _SPARE_THREADS)

    async def __call__(self, request: Request) -> Response:
        return await self._bridge.answer(request)


def ingress(values: Mapping[str, Any], replicas: Any, pull: bool = False) -> Any:
    """Both together, as Ray runs them."""
    deployment: Any = Ingress
    return deployment.bind(dict(values), replicas, pull)
