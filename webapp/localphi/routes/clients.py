"""Who asks, as far as taking turns goes."""

from __future__ import annotations

from flask import request

_KEY_NAME = "localphi.client"  # put into the environ where access keys are checked: the key's name


def client_name() -> str:
    """A name that tells clients apart: the access key's, else the address and the program.

    Without keys all are people of one machine, and a name that somebody made up gains nothing but turns.
    Never logged, never counted by.
    """
    address = request.remote_addr or ""
    name = str(request.environ.get(_KEY_NAME, address))
    return name if name != address else f"{address} {request.user_agent.string[:200]}"
