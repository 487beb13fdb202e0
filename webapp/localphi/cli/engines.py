"""localphi ps, localphi load, localphi stop: the models that a running server has loaded."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

import click

from localphi.errors import LocalphiError

_TIMEOUT_S = 30
_COLUMNS = ("MODEL", "STATUS", "BACKEND", "MEMORY", "AT MOST", "ACTIVE", "WAITING", "USED", "UNLOADS")

url_option = click.option(
    "--url", default="http://localhost:8000", show_default=True, help="Where the server is."
)
key_option = click.option(
    "--key", envvar="LOCALPHI_API_KEY", help="Access key, if the server wants one. [env: LOCALPHI_API_KEY]"
)


@click.command()
@url_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print what the server says, for programs.")
def ps(url: str, key: str | None, as_json: bool) -> None:
    """List the models that the server has loaded, and what they do."""
    document = _ask(url, "/engines", key)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    _print_table([_row(engine) for engine in document["engines"]])
    for engine in document["engines"]:
        if engine["error"]:
            click.echo(f"{engine['id']}: {engine['error']}", err=True)
    click.echo(f"Models may take {_size(document['memory_budget_bytes'])} together.")


@click.command()
@click.argument("model")
@url_option
@key_option
def load(model: str, url: str, key: str | None) -> None:
    """Let the server load MODEL now, so that the first answer need not wait for it."""
    status = _ask(url, f"/engines/{quote(model, safe='')}/load", key, acts=True)["status"]
    click.echo(f"{model} is {status}.")


@click.command()
@click.argument("model")
@url_option
@key_option
def stop(model: str, url: str, key: str | None) -> None:
    """Let the server free the memory of MODEL. The next request for it loads it again."""
    _ask(url, f"/engines/{quote(model, safe='')}/unload", key, acts=True)
    click.echo(f"{model} is not loaded any more.")


def _ask(url: str, path: str, key: str | None, *, acts: bool = False) -> Any:
    """What the server answers. Raises LocalphiError with its own words, or when there is none."""
    if not url.startswith(("http://", "https://")):
        raise LocalphiError(f"--url must begin with http:// or https://, but is '{url}'.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url.rstrip("/") + path, b"" if acts else None, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is close
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise LocalphiError(_reason(error, url)) from error
    except OSError as error:
        raise LocalphiError(f"No server answers at {url}. Start one with: localphi serve") from error
    except ValueError as error:
        raise LocalphiError(f"What answers at {url} is not localphi.") from error


def _reason(error: urllib.error.HTTPError, url: str) -> str:
    with error:
        try:
            return str(json.load(error)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return f"What answers at {url} is not localphi: it says {error.code}."


def _row(engine: dict[str, Any]) -> tuple[str, ...]:
    memory, idle_s, unloads_in_s = engine["memory_bytes"], engine["idle_s"], engine["unloads_in_s"]
    return (
        engine["id"],
        engine["status"],
        engine["backend"],
        "-" if memory is None else _size(memory),
        _size(engine["estimated_bytes"]),
        str(engine["active"]),
        str(engine["waiting"]),
        "now" if idle_s is None else f"{_duration(idle_s)} ago",
        "-" if unloads_in_s is None else f"in {_duration(unloads_in_s)}",
    )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
