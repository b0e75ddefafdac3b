"""What a session is, whichever runtime is behind it, and how it may use this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from polyexport.runtime.cores import granted_cores

__all__ = ["PROVIDERS", "InputRange", "ProviderName", "Session", "SessionOptions", "TensorType"]

ProviderName = Literal["auto", "cpu", "cuda", "tensorrt", "openvino", "webgpu"]
PROVIDERS: tuple[ProviderName, ...] = ("auto", "cpu", "cuda", "tensorrt", "openvino", "webgpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputRange:
    """The shapes that one input takes in a run."""

    name: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]

    def __post_init__(self) -> None:
        pairs = tuple(zip(self.smallest, self.largest, strict=False))
        if len(self.smallest) != len(self.largest) or not all(1 <= low <= high for low, high in pairs):
            raise ValueError(
                f"{self.name}: {self.smallest} to {self.largest} must be shapes of one rank, rising from 1"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOptions:
    """How a session uses this machine."""

    provider: ProviderName = "auto"

    threads: int = 0
    """Of one call, on the CPU; 0 shares every core that is granted among the streams."""

    streams: int = 1
    """Calls at a time. OpenVINO is told; ONNX Runtime runs each call where it was made."""

    images: int = 0
    """How many it is for; 0 if that is not known. ``auto`` spares few images a provider that takes long to start."""

    device_id: int = 0
    """Which GPU."""

    use_tf32: bool = True
    """Multiply float32 in a shorter format where the hardware has one: TensorFloat-32 on NVIDIA, bfloat16 in OpenVINO.
    Off for parity checks."""

    check_placement: bool = True
    """Refuse a session on a named provider whose heavy nodes landed elsewhere."""

    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """What the graph was exported for; TensorRT builds engines of no lower precision."""

    shapes: tuple[InputRange, ...] = ()
    """What the inputs will be, the golden sample of a model file among them: the profile of a TensorRT engine. Without
    it an engine is built anew for every shape that the last one does not hold."""

    cuda_graph: bool = False
    """On CUDA, capture the launches of a shape once and replay them: less work for the CPU, and one call at a time."""

    profile: str = ""
    """Where ONNX Runtime writes the time of every node: how the name of the file begins. Empty for no profile."""

    releases_memory: bool = False
    """On the CPU, give what a call on more than a megapixel took back to the system: for processes that stay. Small
    calls keep theirs, because taking it anew costs time."""

    fused: bool = True
    """Let ONNX Runtime replace nodes and repack weights for speed; without, a profile shows those of the model file."""

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}, got {self.provider!r}")
        if not 0 <= self.threads <= 1024 or not 0 <= self.device_id <= 1024:
            raise ValueError("threads and device_id must be from 0 to 1024")
        if self.images < 0:
            raise ValueError("images must not be negative")
        if not 1 <= self.streams <= 1024:
            raise ValueError("streams must be from 1 to 1024")

    @property
    def granted_threads(self) -> int:
        """Of one call."""
        return self.threads or max(1, granted_cores() // self.streams)


@dataclass(frozen=True, slots=True)
class TensorType:
    """Of a graph's input or output."""

    dtype: str
    """ONNX Runtime's word, such as ``tensor(uint8)``."""

    shape: tuple[int | None, ...]
    """None where the extent is free."""

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join('?' if extent is None else str(extent) for extent in self.shape)}]"


class Session(Protocol):
    """One loaded graph on one execution provider. Safe to call from several threads."""

    @property
    def execution_provider(self) -> str:
        """What really runs the graph, such as ``CPUExecutionProvider`` or ``OpenVINO``."""

    @property
    def fallback_reason(self) -> str:
        """Why ``auto`` did not take a faster provider; empty if it took the first."""

    @property
    def stable_shapes(self) -> bool:
        """Whether a shape that it has not seen costs so much that a short batch is better filled up."""

    @property
    def images_per_call(self) -> int:
        """How many small images a call should take for the most images per second, by measurement."""

    @property
    def computes_elsewhere(self) -> bool:
        """Whether calls are computed in other threads than their own, so that one more of them fills the gaps."""

    @property
    def metadata(self) -> dict[str, str]:
        """The model's ``metadata_props``."""

    @property
    def inputs(self) -> dict[str, TensorType]:
        """By name."""

    @property
    def outputs(self) -> dict[str, TensorType]:
        """By name."""

    def placement(self) -> dict[str, dict[str, int]]:
        """Execution provider -> operator -> number of nodes."""

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the graph once and return one output as a new array."""

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph once and return several outputs as new arrays."""
