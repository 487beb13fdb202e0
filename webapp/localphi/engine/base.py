"""What a backend is, and what travels between the worker process and its client.

A backend lives in the worker and is called by its one owner thread only:

    submit(id, request)   check and queue; raises what can be known now, else gives the prompt's length
    step()                one bounded piece of work; the events it produced, in order
    cancel(id)            forget a request; unknown ids are ignored
    busy                  whether step() has work to do
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localphi.chat import ChatRequest, Item
from localphi.config import BackendName
from localphi.errors import LocalphiError


@dataclass(frozen=True)
class Failed:
    """The request is over because of `error`."""

    error: LocalphiError


@dataclass(frozen=True)
class Admitted:
    """The request is valid and in the queue. First event of every request that does not fail."""

    prompt_tokens: int


Event = Admitted | Item | Failed


class Backend(Protocol):
    @property
    def busy(self) -> bool: ...

    def submit(self, request_id: int, request: ChatRequest) -> Admitted: ...

    def step(self) -> Sequence[tuple[int, Event]]: ...

    def cancel(self, request_id: int) -> None: ...


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process needs to load its model. `folder` is a model folder with a manifest."""

    model: str
    folder: Path
    bundled: bool
    backend: BackendName
    threads: int
    max_active: int
    kv_budget_bytes: int


# Client to worker.
@dataclass(frozen=True)
class Submit:
    request_id: int
    request: ChatRequest


@dataclass(frozen=True)
class Cancel:
    request_id: int


# Worker to client. A worker that cannot load its model says so and ends; else it sends `Sent`s only.
@dataclass(frozen=True)
class LoadFailed:
    error: LocalphiError


@dataclass(frozen=True)
class Sent:
    request_id: int
    event: Event
