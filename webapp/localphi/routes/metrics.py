"""What the server counts, for Prometheus. Each application has its own registry.

Labels are routes, statuses and ids of models on this machine: nothing that a client could have made up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from localphi.chat import Chunk, Finished, Item
from localphi.engine.client import Answer, Engines
from localphi.errors import LocalphiError
from localphi.routes.tracing import Tracing
from localphi.tracing import AnswerTrace

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SPEEDS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
_NO_ROUTE = "none"


class Metrics:
    """The counters of one application."""

    def __init__(self, engines: Engines, tracing: Tracing | None = None) -> None:
        self._tracing = tracing or Tracing()
        self._registry = registry = CollectorRegistry()
        registry.register(_Engines(engines))
        self._requests = Counter(
            "localphi_http_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._request_s = Histogram(
            "localphi_http_request_seconds",
            "From a request to the last byte of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.answers = Counter(
            "localphi_answers",
            "Answers that were begun, by how they ended.",
            ["model", "end"],
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "localphi_prompt_tokens", "Tokens of the prompts of answers.", ["model"], registry=registry
        )
        self.cached_tokens = Counter(
            "localphi_cached_prompt_tokens",
            "Tokens of prompts that need not be computed again.",
            ["model"],
            registry=registry,
        )
        self.generated_tokens = Counter(
            "localphi_generated_tokens",
            "Tokens generated, those of cut answers too.",
            ["model"],
            registry=registry,
        )
        self.first_token_s = Histogram(
            "localphi_time_to_first_token_seconds",
            "From a request to the first token of its answer: waiting, loading, reading the prompt.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_s = Histogram(
            "localphi_queue_seconds",
            "From a request to its turn in the worker, loading included.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.answer_s = Histogram(
            "localphi_answer_seconds",
            "From a request to the last token of its answer.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.speed = Histogram(
            "localphi_decode_tokens_per_second",
            "Tokens per second of an answer, from its first token to its last.",
            ["model"],
            buckets=_SPEEDS,
            registry=registry,
        )

    def install(self, app: Flask) -> None:
        """Count every request that a route of `app` answers, or none does."""
        app.before_request(_start_clock)
        app.after_request(self._count)

    def watch(self, model_id: str, answers: Iterable[Answer]) -> None:
        """Count the answers of the request at hand. model_id: one of the store's."""
        for answer in answers:
            trace = self._tracing.of_answer(model_id, answer, g.started_s)
            answer.watch(_Meter(self, model_id, answer, g.started_s, trace))

    def text(self) -> bytes:
        """Everything counted so far, in Prometheus's text format."""
        return generate_latest(self._registry)

    def _count(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else _NO_ROUTE
        self._requests.labels(route, response.status_code).inc()
        started_s = g.started_s
        duration_s = self._request_s.labels(route)
        response.call_on_close(lambda: duration_s.observe(time.perf_counter() - started_s))
        return response


def _start_clock() -> None:
    g.started_s = time.perf_counter()


class _Meter:
    """Watches one answer."""

    def __init__(
        self,
        metrics: Metrics,
        model_id: str,
        answer: Answer,
        started_s: float,
        trace: AnswerTrace | None = None,
    ) -> None:
        self._metrics = metrics
        self._trace = trace
        self._model_id = model_id
        self._answer = answer
        self._entered = False
        self._started_s = started_s
        self._counted = 0
        self._begun = False
        metrics.prompt_tokens.labels(model_id).inc(answer.prompt_tokens)  # 0 where the end will tell
        metrics.generated_tokens.labels(model_id)  # 0 is a number, too

    def __call__(self, item: Item | LocalphiError | None) -> None:
        metrics, model_id = self._metrics, self._model_id
        if not self._entered and self._answer.queued_s is not None:
            self._entered = True
            metrics.queue_s.labels(model_id).observe(self._answer.queued_s)
        if self._trace is not None:
            self._trace(item)
        match item:
            case Chunk(text=text, token_ids=token_ids):
                self._begin(bool(text or token_ids))
                self._count_tokens(len(token_ids))
            case Finished(reason, usage):
                self._begin(usage.completion_tokens > 0)
                # The token that ended it is in no chunk, and not every upstream server tells ids.
                self._count_tokens(max(0, usage.completion_tokens - self._counted))
                metrics.prompt_tokens.labels(model_id).inc(
                    max(0, usage.prompt_tokens - self._answer.prompt_tokens)
                )
                metrics.cached_tokens.labels(model_id).inc(usage.cached_tokens or 0)
                self._end(reason)
                metrics.answer_s.labels(model_id).observe(time.perf_counter() - self._started_s)
                if usage.tokens_per_second is not None:
                    metrics.speed.labels(model_id).observe(usage.tokens_per_second)
            case LocalphiError():
                self._end("failed")
            case None:
                self._end("abandoned")

    def _begin(self, begins: bool) -> None:
        if begins and not self._begun:
            self._begun = True
            seconds = time.perf_counter() - self._started_s
            self._metrics.first_token_s.labels(self._model_id).observe(seconds)

    def _count_tokens(self, number: int) -> None:
        self._counted += number
        self._metrics.generated_tokens.labels(self._model_id).inc(number)

    def _end(self, how: str) -> None:
        self._metrics.answers.labels(self._model_id, how).inc()


class _Engines(Collector):
    """What the engines are doing at the moment of the question."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        active = GaugeMetricFamily(
            "localphi_active_answers", "Answers that a model works on.", labels=["model"]
        )
        queue = GaugeMetricFamily(
            "localphi_queue_length", "Requests that wait for a model.", labels=["model"]
        )
        loaded = GaugeMetricFamily("localphi_model_loaded", "1 while a model is loaded.", labels=["model"])
        restarts = CounterMetricFamily(
            "localphi_worker_restarts", "Workers started because one had died.", labels=["model"]
        )
        loads = CounterMetricFamily("localphi_model_loads", "How often a model was loaded.", labels=["model"])
        unloads = CounterMetricFamily(
            "localphi_model_unloads", "How often a model was unloaded to free its memory.", labels=["model"]
        )
        kv_used = GaugeMetricFamily(
            "localphi_kv_used_ratio", "Part of the KV pool that answers were promised.", labels=["model"]
        )
        for model_id, state in self._engines.states().items():
            if state.kv_used is not None:
                kv_used.add_metric([model_id], state.kv_used)
            active.add_metric([model_id], state.active)
            queue.add_metric([model_id], max(0, state.held - state.active))
            loaded.add_metric([model_id], state.status == "loaded")
            restarts.add_metric([model_id], state.restarts)
            loads.add_metric([model_id], state.loads)
            unloads.add_metric([model_id], state.unloads)
        yield from (active, queue, loaded, restarts, loads, unloads, kv_used)
        yield from self._places()
        yield from self._replicas()

    def _places(self) -> Iterator[Metric]:
        """Of upstream servers and replicas, by their names: those that were configured, or that Ray gave."""
        labels = ["model", "upstream"]
        active = GaugeMetricFamily(
            "localphi_upstream_active_answers", "Answers that it works on for this server.", labels=labels
        )
        counted = {
            "answers": "Answers that it has completed.",
            "lost": "Answers that it has lost in the middle.",
            "generated_tokens": "Tokens that it has generated.",
            "cached_tokens": "Tokens of prompts that it need not compute again.",
        }
        families = {
            name: CounterMetricFamily(f"localphi_upstream_{name}", about, labels=labels)
            for name, about in counted.items()
        }
        first = SummaryMetricFamily(
            "localphi_upstream_first_token_seconds", "From asking it to the first token.", labels=labels
        )
        for model_id, places in self._engines.places().items():
            for where, counts in places.items():
                active.add_metric([model_id, where], counts.active)
                first.add_metric([model_id, where], counts.begun, counts.first_token_s)
                for name, family in families.items():
                    family.add_metric([model_id, where], getattr(counts, name))
        yield from (active, *families.values(), first)

    def _replicas(self) -> Iterator[Metric]:
        """What replicas in Ray say of themselves, the work that other fronts give them included."""
        labels = ["model", "replica"]
        gauges = {
            "active": "Answers that a replica works on.",
            "queue_length": "Requests in a replica that are next.",
            "kv_used_ratio": "Part of a replica's KV pool that answers were promised.",
            "memory_bytes": "Memory of a replica's worker.",
        }
        counters = {
            "answers": "Answers that a replica has completed.",
            "prompt_tokens": "Tokens of the prompts of completed answers.",
            "cached_tokens": "Tokens of those prompts that it need not compute again.",
            "generated_tokens": "Tokens of completed answers that it has generated.",
            "decode_seconds": "From the first to the last token of completed answers.",
            "restarts": "Workers that a replica started because one had died.",
        }
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            name: GaugeMetricFamily(f"localphi_replica_{name}", about, labels=labels)
            for name, about in gauges.items()
        } | {
            name: CounterMetricFamily(f"localphi_replica_{name}", about, labels=labels)
            for name, about in counters.items()
        }
        first = SummaryMetricFamily(
            "localphi_replica_first_token_seconds",
            "From a request's arrival in a replica to its first token.",
            labels=labels,
        )
        for each in self._engines.replicas():
            where = [each.model, each.replica]
            first.add_metric(where, each.begun, each.first_token_s)
            numbers = asdict(each) | {
                "queue_length": max(0, each.held - each.active),
                "kv_used_ratio": each.kv_used,
                "decode_seconds": each.decode_s,
            }
            for name, family in families.items():
                if numbers[name] is not None:
                    family.add_metric(where, numbers[name])
        yield from (*families.values(), first)
