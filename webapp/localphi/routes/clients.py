"""Who asks, as far as taking turns goes."""

from __future__ import annotations

from flask import request

from localphi.security import CLIENT


def client_name() -> str:
    """A name that tells clients apart: the access key's, else the address and the program.

    Without keys all are people of one machine, and a name that somebody made up gains nothing but turns.
    Never logged, never counted by.
    """
    address = request.remote_addr or ""
    name = str(request.environ.get(CLIENT, address))
    return name if name != address else f"{address} {request.user_agent.string[:200]}"
