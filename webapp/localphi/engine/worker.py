"""The worker process: one model, one owner thread, commands in, events out.

    drain commands → submit, check, cancel or reply → step → send events → again

It waits on the pipe when there is nothing to do, and ends when the client goes away.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

from localphi.config import disable_telemetry, forget_secrets
from localphi.engine.base import (
    Ask,
    Backend,
    Cancel,
    Check,
    Command,
    Event,
    Failed,
    LoadFailed,
    Sent,
    Status,
    Submit,
    WorkerSpec,
    variant_for,
)
from localphi.errors import EngineFailed, LocalphiError
from localphi.logs import place_of
from localphi.models.manifest import Manifest

_KV_STEPS = 20  # so finely is told what of the KV pool is used; each change is a message


def main(pipe: Connection, spec: WorkerSpec) -> None:
    """Entry point of the process. Returns when the other side of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's business; it closes the pipe
    disable_telemetry()
    forget_secrets()  # nothing here asks for them
    try:
        _load_and_serve(pipe, spec)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # whatever broke the runtime; its message may quote a prompt
        sys.stderr.write(f"localphi: the worker of '{spec.model}' failed: {place_of(error)}\n")
        raise SystemExit(1) from None


def _load_and_serve(pipe: Connection, spec: WorkerSpec) -> None:
    try:
        backend = load_backend(spec)
    except LocalphiError as error:
        pipe.send(LoadFailed(error))
        return
    except Exception as error:  # whatever the runtime says about a model it cannot load
        pipe.send(LoadFailed(EngineFailed(f"The model '{spec.model}' cannot be loaded: {error}")))
        return
    _serve(pipe, backend)


def load_backend(spec: WorkerSpec) -> Backend:
    """The backend of a spec. Raises ModelDamaged when a file differs from the manifest."""
    if spec.backend == "echo":
        from localphi.engine.echo import EchoBackend

        return EchoBackend()

    if spec.provider is not None:
        from localphi.engine.providers import check_provider

        check_provider(spec.provider)
    from localphi.models.manifest import load_manifest
    from localphi.models.store import ModelFolder, find_damage

    folder = ModelFolder(spec.folder, load_manifest(spec.folder), spec.bundled)
    manifest = folder.manifest
    if damage := find_damage(folder, variant_for(spec.backend, manifest, spec.folder).files):
        raise damage[0]
    if spec.backend == "openvino":
        from localphi.engine.openvino import OpenvinoBackend

        return OpenvinoBackend(spec.folder, manifest, spec.threads, spec.max_active, spec.kv_budget_bytes)
    return _model_backend(spec, manifest)


def _model_backend(spec: WorkerSpec, manifest: Manifest) -> Backend:
    """The pool of the paged backend takes at most half of what KV caches may; the rest is the generator's."""
    from localphi.engine.generator import GeneratorBackend
    from localphi.engine.intake import Intake
    from localphi.engine.paged import PagedBackend, paged_graph, pool_blocks
    from localphi.engine.routed import RoutedBackend, faster_alone

    variant = manifest.server_variant
    paged = paged_graph(manifest)
    blocks = pool_blocks(manifest, spec.max_active, spec.kv_budget_bytes // 2)
    if spec.backend == "paged" and not blocks:
        problem = "too little memory for its cache" if paged else "no paged graph"
        raise EngineFailed(f"The model '{spec.model}' has {problem}. Serve it with --backend generator.")
    on_cpu = spec.provider in (None, "cpu")  # the paged graph is the CPU's
    if spec.backend == "generator" or not on_cpu or variant is None or paged is None or not blocks:
        limits = (spec.threads, spec.max_active, spec.kv_budget_bytes)
        return GeneratorBackend(spec.folder, manifest, *limits, provider=spec.provider, home=spec.home)

    rest = spec.kv_budget_bytes - blocks * paged.block_tokens * variant.kv_bytes_per_token
    intake = Intake(spec.folder, manifest)

    def make_generator() -> GeneratorBackend:
        return GeneratorBackend(
            spec.folder, manifest, spec.threads, spec.max_active, rest, intake=intake, home=spec.home
        )

    return RoutedBackend(
        PagedBackend(spec.folder, manifest, spec.threads, spec.max_active, blocks, intake=intake),
        make_generator,
        intake,
        context_length=min(manifest.context_length, rest // variant.kv_bytes_per_token),
        generator_alone=spec.backend == "auto" and spec.roomy and faster_alone(intake.settings),
    )


def _serve(pipe: Connection, backend: Backend) -> None:
    told: Status | None = None
    while True:
        status = _status(backend)
        if status != told:
            told = status
            pipe.send(told)
        if not backend.busy or pipe.poll():
            _obey(pipe, backend, pipe.recv())
        else:
            said = tuple(Sent(request_id, event) for request_id, event in backend.step())
            if said:
                pipe.send(said)


def _status(backend: Backend) -> Status:
    used = getattr(backend, "kv_used", None)
    return Status(backend.active, None if used is None else round(used * _KV_STEPS) / _KV_STEPS)


def _obey(pipe: Connection, backend: Backend, command: Command) -> None:
    if isinstance(command, Cancel):
        backend.cancel(command.request_id)
    else:
        pipe.send((Sent(command.request_id, _first_event(backend, command)),))


def _first_event(backend: Backend, command: Submit | Check | Ask) -> Event:
    try:
        match command:
            case Ask(_, question):
                return backend.reply(question)
            case Check(request_id, request):
                admitted = backend.submit(request_id, request)
                backend.cancel(request_id)
                return admitted
            case Submit(request_id, request, resume):
                return backend.submit(request_id, request, resume)
    except LocalphiError as error:
        return Failed(error)
    except Exception as error:  # a text the tokenizer refuses must not end the worker
        return Failed(EngineFailed(f"The prompt cannot be encoded: {error}"))
