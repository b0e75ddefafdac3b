"""Options of a service and limits of its requests."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from polyexport.imaging.pixels import MAX_PIXELS
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.pipeline.run_options import MAX_BATCH_SIZE
from polyexport.web.hosts import HostRule

__all__ = ["HOSTS", "MAX_OPTIONS_BYTES", "Limits", "ServiceOptions"]

HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - the second is for containers, and not the default
"""Addresses to listen on: this machine only, all of its IPv4 addresses, all of its addresses."""

MAX_OPTIONS_BYTES = 1 << 16
"""Largest size of options as JSON text, which one process of a service sends to another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of a request, and of the number of requests."""

    max_bytes: int = 32 * 1024 * 1024
    """Largest size of a request's body, bytes."""

    max_pixels: int = 16 * 1024 * 1024
    """Largest number of pixels of an image; its header is checked before a pixel is decoded."""

    max_native_pixels: int = 1024 * 1024
    """Largest number of pixels of a canvas with size native; the network takes time by the pixel, and memory where the
    canvas is not cut into tiles."""

    max_requests: int = 64
    """Largest number of requests queued or running; a further one is refused before its body is read."""

    body_timeout_s: float = 30.0
    """Longest time for a body to arrive, seconds."""

    min_bytes_per_s: int = 1024
    """Smallest rate of a body, bytes per second since its beginning."""

    rate_grace_s: float = 5.0
    """Time after which the rate of a body is looked at, seconds."""

    head_timeout_s: float = 10.0
    """Longest time for the head of a request to arrive on an open connection, seconds."""

    answer_timeout_s: float = 60.0
    """Longest time for a client to take its answer, seconds."""

    rest_timeout_s: float = 1.0
    """Longest time for which the rest of a request that is answered is read and thrown away, seconds."""

    max_connections: int = 1000
    """Largest number of open connections; the one that is idle longest is closed for a further one."""

    max_connections_per_address: int = 500
    """Largest number of open connections from one address, or from one IPv6 network of 64 bits."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise ValueError(f"max pixels must be 1 to {MAX_PIXELS}, got {self.max_pixels}")
        if not 1 <= self.max_native_pixels <= MAX_PIXELS:
            raise ValueError(f"max native pixels must be 1 to {MAX_PIXELS}, got {self.max_native_pixels}")
        if self.max_requests > 10_000 or max(self.max_connections, self.max_connections_per_address) > 100_000:
            raise ValueError(f"requests must be at most 10000 and connections at most 100000, got {self}")
        if not all(getattr(self, each.name) > 0 for each in fields(self)):
            raise ValueError(f"limits must be positive, got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceOptions:
    """Options of one service."""

    model: Path
    """Model file that ``polyexport export`` wrote."""

    signed_by: Path | None = None
    """Public key, PEM, with which the model file must have been signed; None if that does not matter."""

    provider: str = "auto"
    """Execution provider; ``auto`` takes the fastest that works."""

    device_id: int = 0
    """Number of the GPU."""

    threads: int = 0
    """Threads of one call of the network on the CPU, of which as many run side by side as there are cores for; 0 for
    one thread each, and every core for a call that is alone."""

    max_batch_size: int = 8
    """Largest number of images in one call of the network."""

    batch_timeout_ms: float = 5.0
    """Longest time that the first image of a batch waits for others, milliseconds."""

    host: str = "127.0.0.1"
    """Address to listen on, one of ``HOSTS``."""

    port: int = 8000
    """TCP port."""

    processes: int = 1
    """Number of processes that answer, each with the model, a share of the cores and of the limits."""

    allow_hosts: tuple[str, ...] = ()
    """Names that the service answers to beside its own, without a port."""

    grace_s: float = 30.0
    """Longest time that accepted requests may take after the signal to end, seconds.

    Also the longest time that a request waits in the queue of the network.
    """

    limits: Limits = Limits()
    """Limits of requests."""

    load_limits: LoadLimits = DEFAULT_LIMITS
    """Limits of the first load of an unknown model file."""

    def __post_init__(self) -> None:
        if self.host not in HOSTS:
            raise ValueError(f"host must be {', '.join(HOSTS)}, got {self.host!r}")
        HostRule(self.host, self.allow_hosts)
        if not 1024 <= self.port <= 65535:
            raise ValueError(f"port must be 1024 to 65535, got {self.port}")
        if self.processes < 1:
            raise ValueError(f"processes must be positive, got {self.processes}")
        if not 1 <= self.max_batch_size <= MAX_BATCH_SIZE:
            raise ValueError(f"max batch size must be 1 to {MAX_BATCH_SIZE}, got {self.max_batch_size}")
        if not 0 <= self.batch_timeout_ms <= 10_000 or not 0 < self.grace_s <= 3600:
            raise ValueError(f"batch timeout must be 0 to 10000 ms and grace up to 3600 s, got {self}")

    def to_entries(self) -> dict[str, Any]:
        """Return the options as JSON represents them."""
        return asdict(self) | {"model": str(self.model), "signed_by": str(self.signed_by) if self.signed_by else None}

    @classmethod
    def of_entries(cls, entries: Mapping[str, Any]) -> "ServiceOptions":
        """Make options of what ``to_entries`` gave of them."""
        given: dict[str, Any] = {
            "model": Path(entries["model"]),
            "signed_by": Path(entries["signed_by"]) if entries["signed_by"] else None,
            "allow_hosts": tuple(entries["allow_hosts"]),
            "limits": Limits(**entries["limits"]),
            "load_limits": LoadLimits(**entries["load_limits"]),
        }
        return cls(**{**entries, **given})
