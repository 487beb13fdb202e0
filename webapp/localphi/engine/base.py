"""What a backend is, and what travels between the worker process and its client.

A backend lives in the worker and is called by its one owner thread only:

    submit(id, request)   check and queue; raises what can be known now, else gives the prompt's length
    step()                one bounded piece of work; the events it produced, in order
    cancel(id)            forget a request; unknown ids are ignored
    busy                  whether step() has work to do
    active                how many requests it works on; the others it has are waiting
    kv_used               part of its KV pool that they were promised; not every backend has a pool
    reply(question)       what is asked about texts and token ids, at once

An answer whose worker died goes on in another, and one that was begun elsewhere goes on here: submit(id,
request, resume) gets the token ids that it has already. Their events are told again, log probabilities left
out; then it goes on as if it had never stopped, with all counts those of the whole answer. A backend may also
begin anew, where that gives the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from localphi.chat import ChatRequest, Item
from localphi.config import BackendName, EngineName, ProviderName
from localphi.errors import EngineFailed, LocalphiError
from localphi.models.manifest import OPENVINO_DEVICE, Manifest, Variant


@dataclass(frozen=True)
class Failed:
    """The request is over because of `error`."""

    error: LocalphiError


@dataclass(frozen=True)
class Admitted:
    """The request is valid and in the queue. First event of every request that does not fail.

    where: who computes it, for people; nothing for the worker of this machine.
    """

    prompt_tokens: int
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Encode:
    """Asks for the token ids of a text.

    add_special: with what stands before every prompt of the model, such as a token for its beginning.
    parse_special: control tokens in the text are read as such; else they stay text, as in messages.
    with_pieces: with the bytes that each id stands for.
    """

    text: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


@dataclass(frozen=True)
class Encoded:
    """pieces: one for each id where they were asked for, else none."""

    ids: tuple[int, ...]
    pieces: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Decode:
    """Asks for the text of token ids, control tokens included."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Decoded:
    text: str


Question = Encode | Decode
Reply = Encoded | Decoded
Event = Admitted | Item | Reply | Failed


class Backend(Protocol):
    @property
    def busy(self) -> bool: ...

    @property
    def active(self) -> int: ...

    def submit(self, request_id: int, request: ChatRequest, resume: Sequence[int] = ()) -> Admitted: ...

    def step(self) -> Sequence[tuple[int, Event]]: ...

    def cancel(self, request_id: int) -> None: ...

    def reply(self, question: Question) -> Reply: ...


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process needs to load its model. `folder` is a model folder with a manifest.

    home: where its adapters are, None for no adapters. roomy: there is memory for its weights twice.
    where: what computes it; only for people where that is not a worker process.
    """

    model: str
    folder: Path
    bundled: bool
    backend: BackendName
    threads: int
    max_active: int
    kv_budget_bytes: int
    provider: ProviderName | None = None
    home: Path | None = None
    roomy: bool = False
    where: EngineName = "local"


def variant_for(backend: BackendName, manifest: Manifest, folder: Path) -> Variant:
    """The files that a backend computes with. Raises EngineFailed where the model has none for it."""
    if backend == "openvino":
        if OPENVINO_DEVICE not in manifest.variants:
            missing, advice = "for OpenVINO", f"Make them with: localphi convert {folder}"
            raise EngineFailed(f"The model '{manifest.id}' has no files {missing}. {advice}")
        return manifest.variants[OPENVINO_DEVICE]
    if manifest.server_variant is None:
        raise EngineFailed(f"The model '{manifest.id}' has no files for the server, only for the browser.")
    return manifest.server_variant


# Client to worker.
@dataclass(frozen=True)
class Submit:
    """resume: token ids of the answer that an earlier worker has made, or that the request begins it with."""

    request_id: int
    request: ChatRequest
    resume: tuple[int, ...] = ()


@dataclass(frozen=True)
class Check:
    """Asks whether a request that still has to wait is valid: Admitted, or Failed with what is wrong."""

    request_id: int
    request: ChatRequest


@dataclass(frozen=True)
class Cancel:
    request_id: int


@dataclass(frozen=True)
class Ask:
    request_id: int
    question: Question


Command = Submit | Check | Cancel | Ask


# Worker to client. A worker that cannot load its model says so and ends; else a `Status` comes first. All
# that a step says is one tuple: each message wakes a thread of the server, which may take the worker's core.
@dataclass(frozen=True)
class LoadFailed:
    error: LocalphiError


@dataclass(frozen=True)
class Status:
    """The model is loaded and works on `active` requests. Comes again when something has changed.

    kv_used: part of the KV pool that is promised to them, in steps of a twentieth; None without a pool.
    """

    active: int
    kv_used: float | None = None


@dataclass(frozen=True)
class Sent:
    request_id: int
    event: Event


FromWorker = Status | tuple[Sent, ...]
