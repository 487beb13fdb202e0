"""Every error a caller can meet, told apart by what is wrong rather than by where it happened.

    LocalphiError
    ├── InvalidRequest            a field of the request is wrong; `param` names it
    │   ├── UnsupportedParameter    a known field that no backend here can honour
    │   └── ContextLengthExceeded   the prompt does not fit the model's context
    ├── ModelNotFound             no model of that id, or no model folder at that path
    ├── ModelFolderInvalid        the folder is there, but cannot be read as a model
    ├── ModelDamaged              a file differs from its manifest; names the repair command
    ├── PullFailed                a model could not be fetched; a new pull goes on with what has come
    │   ├── HubUnreachable          the hub does not answer, or may not be asked
    │   ├── HubRefused              the hub answers, but does not give what was asked for
    │   ├── DownloadDamaged         what came is not what the hub lists
    │   ├── DiskFull                the files do not fit on the disk
    │   └── PullBusy                another process is pulling this model
    ├── ToolchainMissing          a library of an extra is not installed; names the extra
    ├── CannotQuantize            the model, or what is asked for it, does not fit; nothing was written
    ├── ProviderMissing           the installed runtime cannot compute with that; says what to install
    ├── CannotConvert             the graph has what the other runtime's form of it cannot say
    ├── BenchFailed               what is measured did not start, refused, or broke off
    ├── EngineBusy                the queue is full; `retry_after_s` says when to come back
    ├── EngineFailed              the runtime refused or broke while working on this request
    ├── WorkerDied                the worker process ended while it had this request
    ├── EngineStopping            the server is being stopped
    ├── RequestAbandoned          nobody waits for the answer any more
    └── ServerStartFailed         the address cannot be served (port in use, not a loopback address)

Errors travel between processes, so each one is rebuilt from its constructor arguments (`args`).
`routes/openai_errors.py` is the one place that turns them into HTTP, `cli` into an exit code.
"""

from __future__ import annotations

import difflib


class LocalphiError(Exception):
    """A failure with a sentence for the user: what was wanted, what came, what to do."""

    @property
    def message(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return self.message


class InvalidRequest(LocalphiError):
    """args: message, name of the offending field or None."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param)
        self.param = param


class UnsupportedParameter(InvalidRequest):
    """args: name of the field, what to do instead."""

    def __init__(self, param: str, advice: str) -> None:
        super().__init__(param, advice)
        self.args = (param, advice)
        self.param = param

    @property
    def message(self) -> str:
        param, advice = self.args
        return f"'{param}' is not supported by this server. {advice}"


class ContextLengthExceeded(InvalidRequest):
    """args: tokens of the rendered prompt, tokens the model's context holds, field with the prompt."""

    def __init__(self, prompt_tokens: int, context_length: int, param: str = "messages") -> None:
        super().__init__("", param)
        self.args = (prompt_tokens, context_length, param)
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length

    @property
    def message(self) -> str:
        what = "conversation" if self.param == "messages" else "prompt"
        return (
            f"The prompt has {self.prompt_tokens} tokens, but the context of this model holds "
            f"{self.context_length} including the answer. Shorten the {what}."
        )


class ModelNotFound(LocalphiError):
    """args: the id or path asked for, ids that exist, what to do (a sentence, or nothing)."""

    def __init__(self, model: str, known: tuple[str, ...], advice: str = "") -> None:
        super().__init__(model, known, advice)
        self.model = model

    @property
    def message(self) -> str:
        model, known, advice = self.args
        alike = difflib.get_close_matches(model.lower(), known, n=2)
        guess = f"Did you mean {' or '.join(alike)}?" if alike else ""
        sentences = (f"There is no model '{model}'.", advice or guess)
        return " ".join(filter(None, sentences)) + f" Known models: {', '.join(known) or 'none'}."


class ModelFolderInvalid(LocalphiError):
    """args: message."""


class ModelDamaged(LocalphiError):
    """args: model id, file name, what is wrong with it, how to repair it (a sentence)."""

    def __init__(self, model: str, file: str, problem: str, repair: str) -> None:
        super().__init__(model, file, problem, repair)
        self.model, self.file, self.problem, self.repair = model, file, problem, repair

    @property
    def message(self) -> str:
        return f"The file {self.file} of model '{self.model}' is damaged: {self.problem}. {self.repair}"


class PullFailed(LocalphiError):
    """args: message."""


class HubUnreachable(PullFailed):
    """args: message."""


class HubRefused(PullFailed):
    """args: message."""


class DownloadDamaged(PullFailed):
    """args: message."""


class DiskFull(PullFailed):
    """args: message."""


class PullBusy(PullFailed):
    """args: message."""


class ToolchainMissing(LocalphiError):
    """args: name of the library, extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(library, extra)

    @property
    def message(self) -> str:
        library, extra = self.args
        return f"This needs {library}, which is not installed. Get it with: pip install 'localphi[{extra}]'"


class CannotQuantize(LocalphiError):
    """args: message."""


class ProviderMissing(LocalphiError):
    """args: provider asked for, those that are there, what to do (a sentence)."""

    def __init__(self, provider: str, available: tuple[str, ...], advice: str) -> None:
        super().__init__(provider, available, advice)

    @property
    def message(self) -> str:
        provider, available, advice = self.args
        return f"The provider '{provider}' is not installed, only {', '.join(available)}. {advice}"


class CannotConvert(LocalphiError):
    """args: message."""


class BenchFailed(LocalphiError):
    """args: message."""


class EngineBusy(LocalphiError):
    """args: requests in the queue, seconds after which to try again."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(waiting, retry_after_s)
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        waiting, retry_after_s = self.args
        return f"The queue is full ({waiting} requests). Try again in {retry_after_s} s."


class EngineFailed(LocalphiError):
    """args: message."""


class WorkerDied(LocalphiError):
    """args: model id, exit code of the process or None when unknown."""

    def __init__(self, model: str, exit_code: int | None) -> None:
        super().__init__(model, exit_code)

    @property
    def message(self) -> str:
        model, exit_code = self.args
        return (
            f"The worker process of model '{model}' ended unexpectedly (exit code {exit_code}). "
            "It starts again with the next request."
        )


class EngineStopping(LocalphiError):
    """args: none."""

    @property
    def message(self) -> str:
        return "The server is stopping."


class RequestAbandoned(LocalphiError):
    """args: none."""

    @property
    def message(self) -> str:
        return "The client left before the answer was complete."


class ServerStartFailed(LocalphiError):
    """args: message."""
