"""Options of a service and limits of its requests."""

from dataclasses import dataclass
from pathlib import Path

from polyexport.imaging.pixels import MAX_PIXELS
from polyexport.model.canvas import MAX_NATIVE_PIXELS
from polyexport.pipeline.run_options import MAX_BATCH_SIZE

__all__ = ["HOSTS", "Limits", "ServiceOptions"]

HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - the second is for containers, and not the default
"""Addresses to listen on: this machine only, all of its IPv4 addresses, all of its addresses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of a request, and of the number of requests."""

    max_bytes: int = 32 * 1024 * 1024
    """Largest size of a request's body, bytes."""

    max_pixels: int = 16 * 1024 * 1024
    """Largest number of pixels of an image; its header is checked before a pixel is decoded."""

    max_native_pixels: int = 1024 * 1024
    """Largest number of pixels of a canvas with size native; the network takes memory by the pixel."""

    max_requests: int = 64
    """Largest number of requests queued or running; a further one is refused before its body is read."""

    body_timeout_s: float = 30.0
    """Longest time for a body to arrive, seconds."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise ValueError(f"max pixels must be 1 to {MAX_PIXELS}, got {self.max_pixels}")
        if not 1 <= self.max_native_pixels <= MAX_NATIVE_PIXELS:
            raise ValueError(f"max native pixels must be 1 to {MAX_NATIVE_PIXELS}, got {self.max_native_pixels}")
        if self.max_bytes < 1 or not 1 <= self.max_requests <= 10_000 or not self.body_timeout_s > 0:
            raise ValueError(f"limits must be positive, and requests at most 10000, got {self}")


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
    """Threads of one call of the network on the CPU; 0 for every core that is granted."""

    max_batch_size: int = 8
    """Largest number of images in one call of the network."""

    batch_timeout_ms: float = 5.0
    """Longest time that the first image of a batch waits for others, milliseconds."""

    host: str = "127.0.0.1"
    """Address to listen on, one of ``HOSTS``."""

    port: int = 8000
    """TCP port."""

    grace_s: float = 30.0
    """Longest time that accepted requests may take after the signal to end, seconds.

    Also the longest time that a request waits in the queue of the network.
    """

    limits: Limits = Limits()
    """Limits of requests."""

    def __post_init__(self) -> None:
        if self.host not in HOSTS:
            raise ValueError(f"host must be {', '.join(HOSTS)}, got {self.host!r}")
        if not 1024 <= self.port <= 65535:
            raise ValueError(f"port must be 1024 to 65535, got {self.port}")
        if not 1 <= self.max_batch_size <= MAX_BATCH_SIZE:
            raise ValueError(f"max batch size must be 1 to {MAX_BATCH_SIZE}, got {self.max_batch_size}")
        if not 0 <= self.batch_timeout_ms <= 10_000 or not 0 < self.grace_s <= 3600:
            raise ValueError(f"batch timeout must be 0 to 10000 ms and grace up to 3600 s, got {self}")
