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
    ├── CannotBuild               the checkpoint, or what is asked for it, cannot become a model
    ├── CannotQuantize            the model, or what is asked for it, does not fit; nothing was written
    ├── CannotRewrite             a graph has a form that the tool-chain does not know; names the node
    ├── ProviderMissing           the installed runtime cannot compute with that; says what to install
    ├── CannotConvert             the graph has what the other runtime's form of it cannot say
    ├── BenchFailed               what is measured did not start, refused, or broke off
    ├── ToolNotFound              the server runs no tool of that name for its page
    ├── ToolFailed                the tool has no result; says why, for the model
    ├── EngineBusy                the queue is full; `retry_after_s` says when to come back
    │   └── UpstreamBusy            those of all servers that compute for this one are
    ├── EngineFailed              the runtime refused or broke while working on this request
    ├── WorkerDied                the worker process ended while it had this request
    │   └── WorkerKeepsDying        too often in a short time; `retry_after_s` says when it is tried again
    ├── ModelTooLarge             the model needs more memory than the server may use
    ├── MemoryInUse               it would fit if other models were not at work; `retry_after_s`
    ├── ModelInUse                the model cannot be unloaded, it has requests
    ├── EngineStopping            the server is being stopped
    ├── RequestAbandoned          nobody waits for the answer any more
    ├── StreamNotFound            no resumable stream of that id, or not any more
    ├── StreamTrimmed             the stream is there, but its first events are not kept any more
    ├── UpstreamUnreachable       none of the servers that compute for this one answers; `retry_after_s`
    ├── UpstreamRefused           one of them does not want us: another key, another address
    ├── UpstreamLost              an answer of theirs broke off and cannot go on elsewhere
    ├── KeysUnusable              access keys that cannot be read, written, or used as they are
    └── ServerStartFailed         the address cannot be served (port in use, open to others without keys)

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
    """args: tokens of the rendered prompt, tokens the model's context holds, field with the prompt.

    at_least: the counting was given up, there are more tokens than that.
    """

    def __init__(
        self, prompt_tokens: int, context_length: int, param: str = "messages", at_least: bool = False
    ) -> None:
        super().__init__("", param)
        self.args = (prompt_tokens, context_length, param, at_least)
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length

    @property
    def message(self) -> str:
        what = "conversation" if self.param == "messages" else "prompt"
        tokens = f"{'more than ' if self.args[3] else ''}{self.prompt_tokens} tokens"
        return (
            f"The prompt has {tokens}, but the context of this model holds "
            f"{self.context_length} including the answer. Shorten the {what}."
        )


class ModelNotFound(LocalphiError):
    """args: the id or path asked for, ids that exist, what to do (a sentence, or nothing), what it is."""

    def __init__(self, model: str, known: tuple[str, ...], advice: str = "", what: str = "model") -> None:
        super().__init__(model, known, advice, what)
        self.model = model

    @property
    def message(self) -> str:
        model, known, advice, what = self.args
        alike = difflib.get_close_matches(model.lower(), known, n=2)
        guess = f"Did you mean {' or '.join(alike)}?" if alike else ""
        sentences = (f"There is no {what} '{model}'.", advice or guess)
        return " ".join(filter(None, sentences)) + f" Known {what}s: {', '.join(known) or 'none'}."


class AdapterNotFound(LocalphiError):
    """args: model id, the adapter asked for, names of those that the model has."""

    def __init__(self, model: str, name: str, known: tuple[str, ...]) -> None:
        super().__init__(model, name, known)

    @property
    def message(self) -> str:
        model, name, known = self.args
        have = f"It has {', '.join(known)}." if known else "It has none: localphi adapters convert --help"
        return f"The model '{model}' has no adapter '{name}'. {have}"


class AdapterInvalid(LocalphiError):
    """args: message."""


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


class PullNotFound(LocalphiError):
    """args: id of what was to be pulled."""

    @property
    def message(self) -> str:
        return f"{self.args[0]!r} has not been fetched since the server began."


class ToolNotFound(LocalphiError):
    """args: name of the tool, names that exist."""

    def __init__(self, tool: str, known: tuple[str, ...]) -> None:
        super().__init__(tool, known)

    @property
    def message(self) -> str:
        tool, known = self.args
        return f"This server has no tool {tool!r}. It has: {', '.join(known) or 'none'}."


class ToolFailed(LocalphiError):
    """args: message."""


class ToolchainMissing(LocalphiError):
    """args: name of the library, extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(library, extra)

    @property
    def message(self) -> str:
        library, extra = self.args
        return f"This needs {library}, which is not installed. Get it with: pip install 'localphi[{extra}]'"


class CannotTrain(LocalphiError):
    """args: message."""


class CannotBuild(LocalphiError):
    """args: message."""


class CannotQuantize(LocalphiError):
    """args: message."""


class CannotRewrite(LocalphiError):
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
    """args: requests in the queue, seconds after which to try again, whether all are of one client."""

    def __init__(self, waiting: int, retry_after_s: int, of_one_client: bool = False) -> None:
        super().__init__(waiting, retry_after_s, of_one_client)
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        waiting, retry_after_s, of_one_client = self.args
        full = "Your share of the queue is full" if of_one_client else "The queue is full"
        return f"{full} ({waiting} requests). Try again in {retry_after_s} s."


class UpstreamBusy(EngineBusy):
    """args: seconds after which to try again, the server that said so or nothing for all of them."""

    def __init__(self, retry_after_s: int, where: str = "") -> None:
        super().__init__(0, retry_after_s)
        self.args = (retry_after_s, where)
        self.where = where

    @property
    def message(self) -> str:
        return f"Everybody who could answer is busy. Try again in {self.retry_after_s} s."


class UpstreamUnreachable(LocalphiError):
    """args: who was asked and what is wrong, seconds after which to try again."""

    def __init__(self, problems: str, retry_after_s: int) -> None:
        super().__init__(problems, retry_after_s)
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        problems, retry_after_s = self.args
        return f"Nobody can answer now ({problems}). Try again in {retry_after_s} s."


class UpstreamRefused(LocalphiError):
    """args: message."""


class UpstreamLost(LocalphiError):
    """args: message."""


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


class WorkerKeepsDying(WorkerDied):
    """args: model id, exit code of the last process or None, seconds until it is tried again."""

    def __init__(self, model: str, exit_code: int | None, retry_after_s: int) -> None:
        super().__init__(model, exit_code)
        self.args = (model, exit_code, retry_after_s)
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        model, exit_code, retry_after_s = self.args
        return (
            f"The worker process of model '{model}' ends again and again (exit code {exit_code}). "
            f"A request in {retry_after_s} s tries it once more; localphi doctor may tell what is wrong."
        )


class ModelTooLarge(LocalphiError):
    """args: model id, bytes that it needs, bytes that the server may use."""

    def __init__(self, model: str, needed_bytes: int, budget_bytes: int) -> None:
        super().__init__(model, needed_bytes, budget_bytes)

    @property
    def message(self) -> str:
        model, needed_bytes, budget_bytes = self.args
        return (
            f"The model '{model}' may need {_gigabytes(needed_bytes)} of memory, but the budget is "
            f"{_gigabytes(budget_bytes)}. Take a smaller model, or raise --memory-budget."
        )


class MemoryInUse(LocalphiError):
    """args: model id, bytes that it needs, ids of the models at work, seconds after which to try again."""

    def __init__(self, model: str, needed_bytes: int, at_work: tuple[str, ...], retry_after_s: int) -> None:
        super().__init__(model, needed_bytes, at_work, retry_after_s)
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        model, needed_bytes, at_work, retry_after_s = self.args
        return (
            f"The model '{model}' may need {_gigabytes(needed_bytes)} of memory, which is in use by "
            f"{', '.join(at_work)}, at work now. Try again in {retry_after_s} s."
        )


class ModelInUse(LocalphiError):
    """args: model id, requests that it has."""

    def __init__(self, model: str, held: int) -> None:
        super().__init__(model, held)

    @property
    def message(self) -> str:
        model, held = self.args
        have = "a request that is" if held == 1 else f"{held} requests that are"
        return f"The model '{model}' has {have} not answered yet. Try again when it is idle."


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


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


class StreamNotFound(LocalphiError):
    """args: none."""

    @property
    def message(self) -> str:
        return "There is no stream of that id: it never was, was cancelled, or has been over for too long."


class StreamTrimmed(LocalphiError):
    """args: number of the event that was wanted, number of the oldest that is still kept."""

    def __init__(self, wanted: int, oldest: int) -> None:
        super().__init__(wanted, oldest)

    @property
    def message(self) -> str:
        wanted, oldest = self.args
        return (
            f"Event {wanted} of this stream is not kept any more; the oldest is {oldest}. "
            "Go on from there, or ask again."
        )


class KeysUnusable(LocalphiError):
    """args: message."""


class ServerStartFailed(LocalphiError):
    """args: message."""
