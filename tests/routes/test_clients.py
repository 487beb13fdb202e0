"""How clients are told apart."""

from __future__ import annotations

from flask import Flask

from localphi.routes.clients import client_name


def _name(app: Flask, address: str = "127.0.0.1", program: str = "x", key_name: str | None = None) -> str:
    environ = {"REMOTE_ADDR": address, "HTTP_USER_AGENT": program}
    if key_name is not None:
        environ["localphi.client"] = key_name
    with app.test_request_context("/", environ_overrides=environ):
        return client_name()


def test_programs_of_one_machine_take_turns(app: Flask) -> None:
    assert _name(app) == _name(app)
    names = {_name(app), _name(app, program="y"), _name(app, address="::1"), _name(app, key_name="ann")}
    assert len(names) == 4


def test_whoever_has_a_key_is_one_client(app: Flask) -> None:
    assert _name(app, key_name="ann") == _name(app, "10.0.0.7", "y", key_name="ann")
    address = "127.0.0.1"
    assert _name(app, key_name=address) != _name(app, program="y", key_name=address), "no key"


def test_a_long_name_is_cut(app: Flask) -> None:
    assert len(_name(app, program="x" * 100_000)) < 300
