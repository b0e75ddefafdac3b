"""How a service runs, and what it takes."""

from dataclasses import dataclass
from pathlib import Path

from polyexport.imaging.pixels import MAX_PIXELS
from polyexport.model.canvas import MAX_NATIVE_PIXELS
from polyexport.pipeline.run import MAX_BATCH_SIZE
from polyexport.runtime.session import ProviderName

__all__ = ["HOSTS", "Limits", "ServiceOptions"]

HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - the second is for containers, and not the default
"""What LitServe listens on: this machine, every IPv4 address of it, every address of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a request may ask for, and how many requests may be in the house."""

    max_bytes: int = 32 * 1024 * 1024
    """Of a body."""

    max_pixels: int = 16 * 1024 * 1024
    """Of an image, as its header says, before a pixel is decoded."""

    max_native_pixels: int = 1024 * 1024
    """Of an image that is to go through the network at its own size: that takes memory by the pixel."""

    max_requests: int = 64
    """That are accepted and not answered yet; one more is sent away before its body is read."""

    body_timeout_s: float = 30.0
    """For a body to arrive whole."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise ValueError(f"max pixels must be 1 to {MAX_PIXELS}, got {self.max_pixels}")
        if not 1 <= self.max_native_pixels <= MAX_NATIVE_PIXELS:
            raise ValueError(f"max native pixels must be 1 to {MAX_NATIVE_PIXELS}, got {self.max_native_pixels}")
        if self.max_bytes < 1 or not 1 <= self.max_requests <= 10_000 or not self.body_timeout_s > 0:
            raise ValueError(f"limits must be positive, and requests at most 10000, got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceOptions:
    """One service."""

    model: Path
    provider: ProviderName = "auto"
    device_id: int = 0
    threads: int = 0
    """Of one call of the network on the CPU; 0 for every core that is granted."""

    max_batch_size: int = 8
    """Images per call of the network."""

    batch_timeout_ms: float = 5.0
    """How long the first image of a batch waits for others."""

    host: str = "127.0.0.1"
    port: int = 8000
    grace_s: float = 30.0
    """For what was accepted to be answered when the service is told to stop."""

    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.host not in HOSTS:
            raise ValueError(f"host must be {', '.join(HOSTS)}, got {self.host!r}")
        if not 1024 <= self.port <= 65535:
            raise ValueError(f"port must be 1024 to 65535, got {self.port}")
        if not 1 <= self.max_batch_size <= MAX_BATCH_SIZE:
            raise ValueError(f"max batch size must be 1 to {MAX_BATCH_SIZE}, got {self.max_batch_size}")
        if not 0 <= self.batch_timeout_ms <= 10_000 or not 0 < self.grace_s <= 3600:
            raise ValueError(f"batch timeout must be 0 to 10000 ms and grace up to 3600 s, got {self}")
