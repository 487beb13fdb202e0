"""What replicas say of themselves. Ray brings it to the routers of each process, which show it to nobody.

Not beside the router: Ray takes that one's module apart and gives its class globals of its own.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

_routers: WeakSet[Any] = WeakSet()


def remember(router: Any) -> None:
    """A RequestRouter of this process, for as long as Ray has it."""
    _routers.add(router)


def routing_stats() -> list[dict[str, Any]]:
    """Of all replicas that this process may ask; new ones have said nothing yet."""
    replicas = [replica for router in list(_routers) for replica in router.curr_replicas.values()]
    return [stats for replica in replicas if (stats := replica.routing_stats)]
