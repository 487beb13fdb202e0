"""How many replicas there are, and how many requests each of them and all of them may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scale:
    """min_replicas, max_replicas: Ray keeps so many that each has about `target_ongoing` requests.

    max_ongoing: requests in a replica, at work or next. max_queued: those that wait for any; more are a 429.
    num_cpus: what a replica takes of a node. drain_s: how long a replica that is to end may go on with what
    it has; what is left then goes on in another one.
    """

    min_replicas: int = 1
    max_replicas: int = 2
    target_ongoing: float = 6.0
    max_ongoing: int = 10
    max_queued: int = 64
    num_cpus: float = 1.0
    drain_s: float = 120.0

    def autoscaling(self) -> dict[str, Any]:
        """Up soon, down late: a queue is waited in, an idle replica is not."""
        return {
            "min_replicas": self.min_replicas,
            "max_replicas": self.max_replicas,
            "target_ongoing_requests": self.target_ongoing,
            "upscale_delay_s": 5.0,
            "downscale_delay_s": 300.0,
        }

    def options(self) -> dict[str, Any]:
        """As Ray's deployments have them."""
        fixed = self.min_replicas == self.max_replicas
        count = {"num_replicas": self.min_replicas} if fixed else {"autoscaling_config": self.autoscaling()}
        return {
            **count,
            "max_ongoing_requests": self.max_ongoing,
            "max_queued_requests": self.max_queued,
            "health_check_period_s": 5.0,
            "health_check_timeout_s": 30.0,
            "graceful_shutdown_timeout_s": self.drain_s,
            "graceful_shutdown_wait_loop_s": 0.5,
            "max_surge_percent": 50,  # in an update a new replica comes before an old one goes
            "ray_actor_options": {"num_cpus": self.num_cpus},
            "request_router_config": {
                "request_router_class": "localphi.deploy.routing.PrefixRouter",
                "request_routing_stats_period_s": 2.0,
            },
        }
