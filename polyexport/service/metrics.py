"""Metrics of a service in Prometheus's text format."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["METRICS_FOLDER", "Metrics"]

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which the processes of one service keep their metrics. It must be set before
prometheus_client is imported."""


class Metrics:
    """Metrics of one service. No label comes from a client, so their number is bounded."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "polyexport_requests",
            "Requests to /infer, by the status of the answer",
            ["status"],
            registry=self._registry,
        )
        self.failures = Counter(
            "polyexport_failures",
            "Requests to /infer that failed, by the code of the problem",
            ["code"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "polyexport_request_seconds",
            "Seconds from the head of a request to /infer to the last byte of its answer",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=self._registry,
        )
        self.batches = Histogram(
            "polyexport_batch_size",
            "Number of images in each call of the network",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "polyexport_requests_in_flight",
            "Requests to /infer that are queued or running",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """Render every metric, of all processes of the service."""
        if not os.environ.get(METRICS_FOLDER):
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
