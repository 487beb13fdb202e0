"""Plugins of localphi_agents by the names that the command line has for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from localphi.errors import LocalphiError


def named_plugins(names: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Each with the name of its functions' group. Raises LocalphiError."""
    from localphi_agents.plugins import Files, Math, Time, Units

    plain: dict[str, Callable[[], object]] = {"time": Time, "math": Math, "units": Units}
    for given in dict.fromkeys(names):
        name, colon, folder = given.partition(":")
        if given in plain:
            yield given, plain[given]()
        elif name == "files" and colon:
            try:
                yield name, Files(folder)
            except ValueError as error:
                raise LocalphiError(f"--plugin {given}: {error}") from error
        else:
            raise LocalphiError(f"--plugin is time, math, units or files:FOLDER, but {given!r} came.")


def quiet() -> None:
    """Failures are told in one sentence; the libraries would log them with tracebacks, and what was asked."""
    for name in ("semantic_kernel", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def installed(command: str) -> Iterator[None]:
    """One sentence when the extra is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "a module").partition(".")[0]
        raise LocalphiError(
            f"'{command}' needs more than is installed ({missing} is missing). "
            "Install it with: pip install 'localphi[agents]'"
        ) from error
