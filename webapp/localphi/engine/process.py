"""A worker process seen from outside: the pipe to it, and a thread for each direction."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from localphi.config import disable_telemetry
from localphi.engine import worker
from localphi.engine.base import Command, FromWorker, LoadFailed, WorkerSpec
from localphi.errors import LocalphiError, WorkerDied

_JOIN_TIMEOUT_S = 5.0
_MAIN = threading.Lock()

OnMessage = Callable[["WorkerProcess", FromWorker], object]
OnEnd = Callable[["WorkerProcess", LocalphiError], object]
"""Gets what kept the model from loading, or else WorkerDied."""


class WorkerProcess:
    """Owns the process and the pipe.

    on_message, on_end: called by the thread that reads the pipe; on_end once, as the last thing it does. A
    thread of its own writes, for a pipe can be full: while the model loads, nobody reads it.
    """

    def __init__(self, spec: WorkerSpec, on_message: OnMessage, on_end: OnEnd) -> None:
        disable_telemetry()  # the child imports onnxruntime with the environment it inherits
        context = multiprocessing.get_context("spawn")
        self._spec = spec
        self._on_message = on_message
        self._on_end = on_end
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=worker.main, args=(theirs, spec), name=f"localphi-{spec.model}", daemon=True
        )
        with _interrupts_blocked(), _main_left_out():
            self._process.start()
        theirs.close()
        self.pid = self._process.pid
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._writer = self._thread(self._write, "commands")
        self._reader = self._thread(self._read, "events")

    def send(self, command: Command) -> None:
        """Never blocks. Of a process that has ended, `on_end` tells."""
        self._commands.put(command)

    def close(self) -> None:
        """End the process, and wait until it is gone and `on_end` was called."""
        self._process.terminate()
        self._reader.join(_JOIN_TIMEOUT_S)
        if self._reader.is_alive():  # the process is stopped, or stuck where it handles no signal
            self._process.kill()
            self._reader.join(_JOIN_TIMEOUT_S)

    def _thread(self, target: Callable[[], object], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"localphi-{self._spec.model}-{name}", daemon=True)
        thread.start()
        return thread

    def _read(self) -> None:
        failure: LocalphiError | None = None
        try:
            while True:
                match self._pipe.recv():
                    case LoadFailed(error):
                        failure = error
                    case message:
                        self._on_message(self, message)
        except (EOFError, OSError):
            pass
        finally:
            self._reap()
            self._on_end(self, failure or WorkerDied(self._spec.model, self._process.exitcode))

    def _reap(self) -> None:
        self._process.join(_JOIN_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._commands.put(None)
        self._writer.join(_JOIN_TIMEOUT_S)
        self._pipe.close()

    def _write(self) -> None:
        try:
            while (command := self._commands.get()) is not None:
                self._pipe.send(command)
        except OSError:
            return


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Processes started inside do not import the program that starts them.

    multiprocessing lets them, for what they are given may be defined there. Of ours nothing is, and a program
    that uses localphi as a library would run a second time if it had no `if __name__ == "__main__"`.
    """
    with _MAIN:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, not even while they are still importing.

    Not possible on Windows, where the worker ignores it once its imports are done.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # started by the first process, and it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
