"""Prometheus counters of one room: requests and their time, cells read, logins."""

import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/api/v1"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)
"""Seconds."""


@dataclass(frozen=True)
class Batch:
    """Cells that were read together."""

    read: int
    rejected: int
    seconds: float


class Meters:
    """The counters; each room has its own, so that tests do not share any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "marrowscope_request_seconds",
            "Time of requests, by method, route and status.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.cells = Counter(
            "marrowscope_cells_read", "Cells read.", ("outcome",), registry=self.registry
        )
        self.batches = Histogram(
            "marrowscope_batch_seconds",
            "Time to read a batch of cells.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.logins = Counter(
            "marrowscope_logins", "Logins tried.", ("outcome",), registry=self.registry
        )
        self.jobs = Gauge(
            "marrowscope_jobs", "Jobs by their state.", ("state",), registry=self.registry
        )

    def batch_read(self, batch: Batch) -> None:
        """Count a batch of cells."""
        self.cells.labels("read").inc(batch.read)
        self.cells.labels("rejected").inc(batch.rejected)
        self.batches.observe(batch.seconds)

    def page(self) -> bytes:
        """Give all counters as Prometheus reads them."""
        return generate_latest(self.registry)


class Timed:
    """Wraps an application: measures how long each request takes."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        """Count on these meters."""
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), "500"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            taken = time.perf_counter() - began
            self._meters.requests.labels(_method(scope), _route(scope), status).observe(taken)


def _method(scope: Scope) -> str:
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    return scope["method"] if scope["method"] in methods else "other"


def _route(scope: Scope) -> str:
    """Name the route, not the address: there are few of them, and they name no case."""
    path = str(getattr(scope.get("route"), "path", "none"))
    in_api = scope["path"].startswith(API)
    return f"{API}{path}" if in_api and not path.startswith(API) else path
