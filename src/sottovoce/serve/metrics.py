"""The server's Prometheus metrics, in their own registry."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one server.

    Args:
        queue_length: returns how many requests wait.
    """

    def __init__(self, queue_length: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("sottovoce_requests", "requests answered", ["route", "status"], registry=registry)
        self.latency = Histogram(
            "sottovoce_request_seconds", "time to answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self.batches = Histogram(
            "sottovoce_batch_size", "requests computed together", ["work"], buckets=_BATCH_SIZES, registry=registry
        )
        self.computing = Counter("sottovoce_computing_seconds", "time the model worked", ["work"], registry=registry)
        self.audio = Counter("sottovoce_audio_seconds", "seconds of recordings received", registry=registry)
        waiting = Gauge("sottovoce_queue_length", "requests waiting for the model", registry=registry)
        waiting.set_function(queue_length)

    def note_batch(self, work: str, size: int, seconds: float) -> None:
        """Counts a computed batch."""
        self.batches.labels(work).observe(size)
        self.computing.labels(work).inc(seconds)

    def page(self) -> Response:
        """All metrics in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class Measured:
    """ASGI middleware: counts answers by route and status, and measures how long they took."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            # The route's pattern, not the path: clients must not be able to fill the registry.
            route = getattr(scope.get("route"), "path", None) or "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - started)
