"""localphi keys new|list|rm"""

from __future__ import annotations

import click

from localphi.cli.options import settings_from
from localphi.keys import KeyStore


@click.group()
def keys() -> None:
    """Access keys of the server on this machine.

    As soon as there is one, `localphi serve` answers nobody without a key, and may listen on addresses that
    other machines reach. A server that runs already takes notice at once.
    """


def _store() -> KeyStore:
    return KeyStore(settings_from().home)


@keys.command("new")
@click.argument("name")
def new_key(name: str) -> None:
    """Make a key called NAME and show it, this one time: only its hash is kept."""
    key = _store().new(name)
    click.echo(key)
    click.echo(f"This is the key '{name}'. It will not be shown again.", err=True)


@keys.command("list")
def list_keys() -> None:
    """List the names of the keys, and when each was made."""
    found = _store().keys()
    if not found:
        click.echo("There are no keys. Make one: localphi keys new NAME", err=True)
    width = max((len(key.name) for key in found), default=0)
    for key in found:
        click.echo(f"{key.name:<{width}}  {key.created}")


@keys.command("rm")
@click.argument("name")
def remove_key(name: str) -> None:
    """Remove the key called NAME; who uses it is refused from now on."""
    _store().remove(name)
    click.echo(f"The key '{name}' is removed.")
