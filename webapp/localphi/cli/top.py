"""localphi top: what a running server does, from its own metrics, again and again."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from localphi.cli.engines import key_option, url_option
from localphi.errors import LocalphiError

_TIMEOUT_S = 10
_CLEAR = "\x1b[H\x1b[2J"
_MODELS = ("MODEL", "ACTIVE", "WAITING", "TOKENS/S", "ANSWERS/S", "FIRST TOKEN", "CACHED", "KV", "RESTARTS")
_PLACES = ("UPSTREAM", "MODEL", "ACTIVE", "TOKENS/S", "ANSWERS/S", "FIRST TOKEN", "CACHED", "LOST")
_REPLICAS = (
    "REPLICA",
    "MODEL",
    "ACTIVE",
    "NEXT",
    "TOKENS/S",
    "ANSWERS/S",
    "FIRST TOKEN",
    "CACHED",
    "KV",
    "RESTARTS",
)
_SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\\\]|\\\\.)*)"')

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sampled:
    """The server's metrics at one moment."""

    at_s: float
    values: Mapping[tuple[str, Labels], float]

    def get(self, name: str, **labels: str) -> float:
        return self.values.get((name, tuple(sorted(labels.items()))), 0.0)

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for known, labels in self.values if known == name]


@click.command()
@url_option
@key_option
@click.option("--every", type=click.FloatRange(0.2, 60), default=2.0, show_default=True, metavar="SECONDS")
@click.option("--once", is_flag=True, help="Print what there is since the server began, and end.")
def top(url: str, key: str | None, every: float, once: bool) -> None:
    """Show what the server's models, replicas and upstream servers do. Ctrl-C ends it."""
    before = Sampled(0.0, {})
    while True:
        now = read_metrics(fetch(url, key), time.monotonic())
        text = "\n".join(lines(before, now))
        click.echo(text if once else f"{_CLEAR}{url}\n\n{text}")
        if once:
            return
        before = now
        time.sleep(every)


def fetch(url: str, key: str | None) -> str:
    """The metrics of a server. Raises LocalphiError when there is none, or none for us."""
    if not url.startswith(("http://", "https://")):
        raise LocalphiError(f"--url must begin with http:// or https://, but is '{url}'.")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url.rstrip("/") + "/metrics", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is close
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return str(response.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        error.close()
        raise LocalphiError(f"{url} shows no metrics ({error.code}). Does it want --key?") from error
    except OSError as error:
        raise LocalphiError(f"No server answers at {url}. Start one with: localphi serve") from error


def read_metrics(text: str, at_s: float) -> Sampled:
    """Prometheus's text format, as far as our own metrics use it."""
    values = {}
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match is not None:
            labels = tuple(sorted(_LABEL.findall(match["labels"] or "")))
            values[match["name"], labels] = float(match["value"])
    return Sampled(at_s, values)


def lines(before: Sampled, now: Sampled) -> Iterator[str]:
    """A table of models, and one of those who compute for this server where there are some."""
    yield from _table(
        _MODELS, [_model(before, now, each["model"]) for each in now.labels("localphi_model_loaded")]
    )
    places = now.labels("localphi_upstream_active_answers")
    if places:
        yield ""
        yield from _table(_PLACES, [_place(before, now, **each) for each in places])
    replicas = now.labels("localphi_replica_active")
    if replicas:
        yield ""
        yield from _table(_REPLICAS, [_replica(before, now, **each) for each in replicas])


def _model(before: Sampled, now: Sampled, model: str) -> tuple[str, ...]:
    each = _Rates(before, now, model=model)
    answers = sum(
        now.get("localphi_answers_total", **labels) - before.get("localphi_answers_total", **labels)
        for labels in now.labels("localphi_answers_total")
        if labels["model"] == model
    )
    return (
        model,
        each.now("localphi_active_answers"),
        each.now("localphi_queue_length"),
        each.per_second("localphi_generated_tokens_total"),
        each.rate(answers),
        each.mean("localphi_time_to_first_token_seconds"),
        each.share("localphi_cached_prompt_tokens_total", "localphi_prompt_tokens_total"),
        each.ratio("localphi_kv_used_ratio"),
        each.now("localphi_worker_restarts_total"),
    )


def _place(before: Sampled, now: Sampled, model: str, upstream: str) -> tuple[str, ...]:
    each = _Rates(before, now, model=model, upstream=upstream)
    return (
        upstream,
        model,
        each.now("localphi_upstream_active_answers"),
        each.per_second("localphi_upstream_generated_tokens_total"),
        each.per_second("localphi_upstream_answers_total"),
        each.mean("localphi_upstream_first_token_seconds"),
        f"{each.more('localphi_upstream_cached_tokens_total'):.0f}",
        each.now("localphi_upstream_lost_total"),
    )


def _replica(before: Sampled, now: Sampled, model: str, replica: str) -> tuple[str, ...]:
    each = _Rates(before, now, model=model, replica=replica)
    return (
        replica,
        model,
        each.now("localphi_replica_active"),
        each.now("localphi_replica_queue_length"),
        each.per_second("localphi_replica_generated_tokens_total"),
        each.per_second("localphi_replica_answers_total"),
        each.mean("localphi_replica_first_token_seconds"),
        each.share("localphi_replica_cached_tokens_total", "localphi_replica_prompt_tokens_total"),
        each.ratio("localphi_replica_kv_used_ratio"),
        each.now("localphi_replica_restarts_total"),
    )


class _Rates:
    """What has changed between two moments, for one set of labels."""

    def __init__(self, before: Sampled, now: Sampled, **labels: str) -> None:
        self._before, self._now, self._labels = before, now, labels

    def now(self, name: str) -> str:
        return f"{self._now.get(name, **self._labels):.0f}"

    def ratio(self, name: str) -> str:
        value = self._now.values.get((name, tuple(sorted(self._labels.items()))))
        return "-" if value is None else f"{value:.0%}"

    def more(self, name: str) -> float:
        return self._now.get(name, **self._labels) - self._before.get(name, **self._labels)

    def rate(self, number: float) -> str:
        if not self._before.values:
            return f"({number:.0f})"  # since the server began, not per second
        return f"{number / max(1e-9, self._now.at_s - self._before.at_s):.1f}"

    def per_second(self, name: str) -> str:
        return self.rate(self.more(name))

    def mean(self, name: str) -> str:
        count = self.more(f"{name}_count")
        return f"{self.more(f'{name}_sum') / count * 1000:.0f} ms" if count else "-"

    def share(self, part: str, whole: str) -> str:
        total = self.more(whole)
        return f"{self.more(part) / total:.0%}" if total else "-"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
