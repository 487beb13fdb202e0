"""Peaks of what V8 counts in the workers of a page, by what the page was doing."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession


class HeapWatch:
    """A worker that computes answers late, so that a short peak may be missed.

    peaks: for each phase `heap`, `with_buffers` (bytes; the largest of all workers) and `samples`.
    """

    def __init__(self, session: CDPSession) -> None:
        self.peaks: dict[str, dict[str, float]] = defaultdict(dict)
        self.phase = ""
        self._session = session
        self._workers: list[str] = []
        self._number = 0
        session.on("Target.attachedToTarget", self._attached)
        session.on("Target.detachedFromTarget", self._detached)
        session.on("Target.receivedMessageFromTarget", self._received)
        options = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        session.send("Target.setAutoAttach", options)

    def sample(self) -> None:
        from playwright.sync_api import Error

        for worker in list(self._workers):
            self._number += 1
            message = json.dumps({"id": self._number, "method": "Runtime.getHeapUsage"})
            with suppress(Error):  # gone meanwhile
                options = {"message": message, "sessionId": worker}
                self._session.send("Target.sendMessageToTarget", options)

    def _attached(self, event: dict[str, Any]) -> None:
        if event["targetInfo"]["type"] == "worker":
            self._workers.append(event["sessionId"])

    def _detached(self, event: dict[str, Any]) -> None:
        with suppress(ValueError):
            self._workers.remove(event["sessionId"])

    def _received(self, event: dict[str, Any]) -> None:
        result = json.loads(event["message"]).get("result", {})
        if "usedSize" in result:
            peak = self.peaks[self.phase]
            heap = result["usedSize"] + result.get("embedderHeapUsedSize", 0)
            both = heap + result.get("backingStorageSize", 0)
            peak["heap"] = max(peak.get("heap", 0), heap)
            peak["with_buffers"] = max(peak.get("with_buffers", 0), both)
            peak["samples"] = peak.get("samples", 0) + 1
