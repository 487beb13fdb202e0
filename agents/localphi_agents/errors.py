"""What can go wrong between this process and the server.

    ClientError
    ├── ModelUnavailable      no model to be loaded into this process, see `in_process`
    ├── ServerUnreachable     nothing listens at the address; says how to start the server
    ├── ServerReported        the server said what is wrong: `kind`, `param`, `code`
    │   ├── RequestRefused      with an HTTP `status`, before the answer began
    │   └── AnswerFailed        in the middle of the answer
    ├── AnswerIncomplete      the answer broke off without a word
    ├── CallCutOff            the answer reached its limit within a call of a tool
    └── UnexpectedReply       what came is not the wire format; perhaps another program has the port

Each is one sentence for the user when printed.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORT = 8000


class ClientError(Exception):
    """No answer, or not all of it."""


class ServerUnreachable(ClientError):
    def __init__(self, url: str) -> None:
        port = urlsplit(url).port
        command = "localphi serve" if port in (None, _DEFAULT_PORT) else f"localphi serve --port {port}"
        super().__init__(f"No server answers at {url}. Start it with: {command}")
        self.url = url


class ModelUnavailable(ClientError):
    pass


class ServerReported(ClientError):
    """kind: family of the error; param: the field that is wrong; code: the error's exact name."""

    def __init__(self, message: str, kind: str | None, param: str | None, code: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code


class RequestRefused(ServerReported):
    """retry_after_s: when to try again, if the server said so."""

    def __init__(
        self,
        message: str,
        kind: str | None,
        param: str | None,
        code: str | None,
        *,
        status: int,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, kind, param, code)
        self.status = status
        self.retry_after_s = retry_after_s


class AnswerFailed(ServerReported):
    pass


class AnswerIncomplete(ClientError):
    pass


class CallCutOff(ClientError):
    def __init__(self, name: str | None) -> None:
        super().__init__(
            f"The answer reached its limit of tokens within a call of {name or 'a tool'}; "
            "allow more with max_tokens."
        )
        self.name = name


class UnexpectedReply(ClientError):
    pass
