"""What a service counts, in the form that Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]


class Metrics:
    """Counters of the process that answers HTTP. None of their labels comes from a client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "polyexport_requests", "Requests to /infer, by the status of the answer", ["status"], registry=self.registry
        )
        self.failures = Counter(
            "polyexport_failures",
            "Requests to /infer that failed, by the code of the problem",
            ["code"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "polyexport_request_seconds",
            "From the first byte of a request to /infer to the last of its answer",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self.batches = Histogram(
            "polyexport_batch_size",
            "Images of each call of the network",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.in_flight = Gauge("polyexport_requests_in_flight", "Accepted and not answered yet", registry=self.registry)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self.registry)
