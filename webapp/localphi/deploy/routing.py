"""Which replica is asked: the one that has the conversation's beginning, unless it is busier than others.

Ray asks for an order; it takes the first replica that has room (`max_ongoing_requests`), and when none has,
the request waits. The choice is made by hashing, so that every front comes to the same one without asking.
"""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from localphi.chat import ChatRequest
from localphi.deploy.stats import remember
from localphi.engine.affinity import key_of, preference

_SLACK = 2  # so many more requests than the least busy one may a replica have and still be preferred


class PrefixRouter(RequestRouter):  # type: ignore[misc]
    """Ray makes one wherever requests come from.

    A replica may take its time to say how long its queue is: on a busy machine Ray's tenth of a second is
    over, and the conversation would go where its beginning is not.
    """

    queue_len_response_deadline_s = max_queue_len_response_deadline_s = 2.0

    def initialize_state(self, **_: Any) -> None:
        remember(self)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        replicas = sorted(candidate_replicas, key=self._known_length)
        if not replicas:
            return []
        request = pending_request.args[0] if pending_request is not None and pending_request.args else None
        if not isinstance(request, ChatRequest):
            return [[replica] for replica in replicas]
        key = key_of(request)
        least = self._known_length(replicas[0])
        near = [replica for replica in replicas if self._known_length(replica) <= least + _SLACK]
        first = max(near, key=lambda replica: preference(key, replica.replica_id.unique_id))
        others = [replica for replica in replicas if replica is not first]
        return [[first], *([replica] for replica in others)]

    def _known_length(self, replica: RunningReplica) -> int:
        """Of its queue, as it was told last. 0 where nobody asked lately."""
        return self.replica_queue_len_cache.get(replica.replica_id) or 0
