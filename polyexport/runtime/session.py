"""The protocol of a session, whichever runtime is behind it, and the options of how it uses this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from polyexport.runtime.cores import granted_cores
from polyexport.runtime.providers import AUTO, provider_choices

__all__ = ["LARGE_INPUT_BYTES", "Session", "SessionOptions", "TensorType"]

LARGE_INPUT_BYTES = 3 * 1024 * 1024
"""Total size of a call's inputs, about a megapixel, above which ``SessionOptions.releases_memory`` applies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOptions:
    """Options of a session: the provider, and how it uses this machine."""

    provider: str = AUTO
    """Name of the execution provider, which is required, or ``auto`` for the best that works."""

    threads: int = 0
    """Processor threads of one call; 0 shares all granted cores among the streams."""

    streams: int = 1
    """Number of calls that run at the same time. OpenVINO needs to know it; ONNX Runtime runs each call in the thread
    that makes it."""

    images: int = 0
    """Number of images that the session is for; 0 if unknown. For few, ``auto`` skips providers that start slowly."""

    device_id: int = 0
    """Number of the GPU."""

    use_tf32: bool = True
    """Multiply float32 in a shorter format where the hardware has one: TensorFloat-32 on NVIDIA GPUs, bfloat16 in
    OpenVINO. Parity checks turn it off."""

    check_placement: bool = True
    """Refuse a session on a provider that left heavy nodes to another one."""

    precision: str = "fp32"
    """Precision that the graph was exported in. TensorRT must not compute in a lower one."""

    profile: str = ""
    """Prefix of the path of ONNX Runtime's profile, which holds the time of every node; empty for no profile."""

    releases_memory: bool = False
    """On the CPU, give the memory of a call on more than ``LARGE_INPUT_BYTES`` back to the system, for processes that
    run for a long time. Small calls keep theirs, because allocating it again takes time."""

    cache: bool = False
    """Keep the compiled model in the user's cache folder, and take it from there. For model files that will be loaded
    again; graphs that are made for one purpose would drive them out."""

    fused: bool = True
    """Let ONNX Runtime fuse nodes and repack weights for speed. Without, a profile shows the nodes of the file."""

    def __post_init__(self) -> None:
        if self.provider not in provider_choices():
            raise ValueError(f"provider must be one of {', '.join(provider_choices())}, got {self.provider!r}")
        if not 0 <= self.threads <= 1024 or not 0 <= self.device_id <= 1024:
            raise ValueError("threads and device_id must be from 0 to 1024")
        if self.images < 0:
            raise ValueError("images must not be negative")
        if not 1 <= self.streams <= 1024:
            raise ValueError("streams must be from 1 to 1024")

    @property
    def granted_threads(self) -> int:
        """Processor threads of one call, at least 1."""
        return self.threads or max(1, granted_cores() // self.streams)


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of an input or output of a graph."""

    dtype: str
    """ONNX Runtime's name of the element type, such as ``tensor(uint8)``."""

    shape: tuple[int | None, ...]
    """Extent of each axis; None where it is free."""

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join('?' if extent is None else str(extent) for extent in self.shape)}]"


class Session(Protocol):
    """One loaded graph on one execution provider. Safe to call from several threads."""

    fallback_reason: str
    """Why ``auto`` did not take a provider of a better rank; empty if it took the first one, or if the provider was
    named. ``open_session`` sets it."""

    cache_note: str
    """Remark on the compiled model in the user's cache folder, in a few words; empty for providers that keep none
    there, and if ``SessionOptions.cache`` did not ask for it."""

    @property
    def execution_provider(self) -> str:
        """Name of the runtime or provider that runs the graph, such as ``CPUExecutionProvider`` or ``OpenVINO``."""

    @property
    def stable_shapes(self) -> bool:
        """Whether a new input shape costs so much that a short batch should rather be filled up."""

    @property
    def images_per_call(self) -> int:
        """Number of small images in a call that gave the most images per second, by measurement."""

    @property
    def pixels_per_call(self) -> int:
        """Number of pixels in a call from which further images gave nothing, by measurement."""

    @property
    def computes_elsewhere(self) -> bool:
        """Whether calls are computed outside of the calling threads, so that one more call at a time fills the gaps."""

    @property
    def inputs(self) -> dict[str, TensorType]:
        """Type of each input, by name."""

    @property
    def outputs(self) -> dict[str, TensorType]:
        """Type of each output, by name."""

    def placement(self) -> dict[str, dict[str, int]]:
        """Number of nodes of each operator on each execution provider."""

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the graph once and return one output as a new array."""

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph once and return several outputs as new arrays."""
