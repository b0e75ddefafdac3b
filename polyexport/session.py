"""ONNX Runtime sessions that run where they were asked to run, or not at all.

Left alone, ONNX Runtime turns a CUDA provider whose libraries are missing into a CPU session without a word. Here a
named provider is a requirement: the session is asked what it got, and which nodes landed where.
"""

import contextlib
import ctypes
import functools
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polyexport.cores import granted_cores
from polyexport.errors import ContractError, ProviderError, reason_of

__all__ = [
    "CPU",
    "PROVIDERS",
    "ProviderName",
    "ProviderStatus",
    "Session",
    "SessionOptions",
    "TensorType",
    "open_session",
    "probe_provider",
]

ProviderName = Literal["auto", "cpu", "cuda"]
PROVIDERS: tuple[ProviderName, ...] = ("auto", "cpu", "cuda")

CPU = "CPUExecutionProvider"
_EXECUTION_PROVIDERS = {"cpu": CPU, "cuda": "CUDAExecutionProvider"}
_BY_SPEED: tuple[Literal["cuda"], ...] = ("cuda",)  # what `auto` tries before the CPU

# A graph whose heavy nodes run elsewhere than on the required provider is a silent fallback in parts.
_HEAVY_NODES = frozenset(("Conv", "Resize", "MaxPool", "Concat", "Gemm", "MatMul"))

_CUDA_REMEDY = (
    "install the GPU libraries with `pip install 'polyexport[cuda]'` and an NVIDIA driver, or use --provider cpu"
)
_MODEL_REMEDY = "give a model that `polyexport export` wrote"

# A tensor with external data names its file under the key "location". The length before the key may be padded with zero
# bits; the tag before that has too many spellings to match. Models of this toolkit hold their weights inside.
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")

# What ONNX Runtime raises for the model's fault, whatever the provider.
_MODEL_FAULTS = tuple(
    getattr(ort.capi.onnxruntime_pybind11_state, name)
    for name in ("InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NoModel", "NoSuchFile")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOptions:
    """How a session uses this machine."""

    provider: ProviderName = "auto"

    threads: int = 0
    """Intra-op threads of the CPU provider; 0 takes every core that is granted."""

    device_id: int = 0
    """Which GPU."""

    use_tf32: bool = True
    """TensorFloat-32 on NVIDIA; off for parity checks."""

    check_placement: bool = True
    """Refuse a session on a named provider whose heavy nodes landed on the CPU."""

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}, got {self.provider!r}")
        if not 0 <= self.threads <= 1024 or not 0 <= self.device_id <= 1024:
            raise ValueError("threads and device_id must be from 0 to 1024")

    @property
    def granted_threads(self) -> int:
        return self.threads or granted_cores()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderStatus:
    """Whether an execution provider works on this machine."""

    name: str
    execution_provider: str
    works: bool
    reason: str = ""
    """What it lacks, in one line."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """Of a graph's input or output."""

    dtype: str
    """ONNX Runtime's word, such as ``tensor(uint8)``."""

    shape: tuple[int | None, ...]
    """None where the extent is free."""

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join('?' if extent is None else str(extent) for extent in self.shape)}]"


def _tensor_type(value: Any) -> TensorType:
    return TensorType(str(value.type), tuple(e if isinstance(e, int) else None for e in value.shape))


class Session:
    """One loaded graph on one execution provider. Safe to call from several threads."""

    def __init__(self, session: ort.InferenceSession, *, fallback_reason: str = "") -> None:
        self._session = session
        self.fallback_reason = fallback_reason
        """Why ``auto`` did not take a faster provider; empty if it took the first."""

    @property
    def execution_provider(self) -> str:
        """The provider that ONNX Runtime says the session has, such as ``CPUExecutionProvider``."""
        return str(self._session.get_providers()[0])

    @property
    def metadata(self) -> dict[str, str]:
        """The model's ``metadata_props``."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> dict[str, TensorType]:
        """By name."""
        return {value.name: _tensor_type(value) for value in self._session.get_inputs()}

    @property
    def outputs(self) -> dict[str, TensorType]:
        """By name."""
        return {value.name: _tensor_type(value) for value in self._session.get_outputs()}

    def placement(self) -> dict[str, dict[str, int]]:
        """Execution provider -> operator -> number of nodes."""
        placed: dict[str, dict[str, int]] = {}
        for subgraph in self._session.get_provider_graph_assignment_info():
            operators = placed.setdefault(subgraph.ep_name, {})
            for node in subgraph.get_nodes():
                operators[node.op_type] = operators.get(node.op_type, 0) + 1
        return placed

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the graph once and return one output as a new array."""
        return self.run_all((output,), feeds)[0]

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph once and return several outputs as new arrays."""
        if self.execution_provider == CPU:
            results: list[NDArray[Any]] = self._session.run(list(outputs), dict(feeds))
            return results
        # Bound, so that ONNX Runtime copies each input to the device and each output back exactly once.
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in outputs:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        bound: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return bound


def open_session(model: bytes, options: SessionOptions) -> Session:
    """Load a model from bytes.

    Raises:
        ContractError: not a whole ONNX model, or one with external data.
        ProviderError: the provider that ``options`` names is missing or did not take the heavy nodes.
    """
    if _EXTERNAL_DATA.search(model):
        raise ContractError("the model keeps data in other files, which are never opened", remedy=_MODEL_REMEDY)
    if options.provider == "cpu":
        return Session(_create(model, "cpu", options))
    if options.provider == "cuda":
        return _required(model, "cuda", options)
    reasons: list[str] = []
    for name in _BY_SPEED:
        status = probe_provider(name)
        if not status.works:
            reasons.append(f"{name}: {status.reason}")
            continue
        try:
            return _required(model, name, options)
        except ProviderError as error:
            reasons.append(f"{name}: {error.message}")
    return Session(_create(model, "cpu", options), fallback_reason="; ".join(reasons))


def _required(model: bytes, name: Literal["cuda"], options: SessionOptions) -> Session:
    status = probe_provider(name)
    if not status.works:
        raise ProviderError(f"the {name} execution provider cannot be used: {status.reason}", remedy=_CUDA_REMEDY)
    session = Session(_create(model, name, options))
    if session.execution_provider != _EXECUTION_PROVIDERS[name]:
        raise ProviderError(f"asked for {name}, ONNX Runtime gave {session.execution_provider}", remedy=_CUDA_REMEDY)
    astray = sorted(_HEAVY_NODES & session.placement().get(CPU, {}).keys())
    if options.check_placement and astray:
        raise ProviderError(
            f"{name} left {', '.join(astray)} nodes to the CPU", remedy="export the model again, or use --provider cpu"
        )
    return session


def _create(model: bytes, name: str, options: SessionOptions) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.granted_threads
    settings.log_severity_level = 3
    # Idle threads that spin take their core from the threads that decode and encode.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = _provider_list(name, options)
    try:
        return ort.InferenceSession(model, settings, providers=providers, enable_fallback=False)
    except Exception as error:
        if name != "cpu":
            raise ProviderError(f"{name} could not load the model: {reason_of(error)}", remedy=_CUDA_REMEDY) from error
        raise ContractError(f"not a whole ONNX model: {reason_of(error)}", remedy=_MODEL_REMEDY) from error


def _provider_list(name: str, options: SessionOptions) -> list[Any]:
    """In ONNX Runtime's order of preference; the CPU takes what the first one leaves."""
    if name == "cuda":
        return [(_EXECUTION_PROVIDERS["cuda"], cuda_options(options)), CPU]
    return [CPU]


def cuda_options(options: SessionOptions) -> dict[str, str]:
    """Provider options for CUDA, each documented in ONNX Runtime's page on the CUDA execution provider."""
    return {
        "device_id": str(options.device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",  # EXHAUSTIVE tunes anew for every shape
        "use_tf32": str(int(options.use_tf32)),
    }


@functools.cache
def probe_provider(name: str) -> ProviderStatus:
    """Try a provider with a real one-node session, and say what it lacks.

    The result is kept: a machine does not change under a running process.
    """
    execution_provider = _EXECUTION_PROVIDERS[name]
    if execution_provider not in ort.get_available_providers():
        reason = f"this ONNX Runtime ({ort.__version__}) was built without it"
        return ProviderStatus(name=name, execution_provider=execution_provider, works=False, reason=reason)
    with _captured_stderr() as log:
        if name == "cuda":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                ort.preload_dlls()
        else:
            printed = io.StringIO()
        fault = ""
        try:
            session = ort.InferenceSession(_PROBE_MODEL, providers=[execution_provider], enable_fallback=False)
            works = session.get_providers()[0] == execution_provider
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the provider does not work
            works, fault = False, reason_of(error)
    if works:
        return ProviderStatus(name=name, execution_provider=execution_provider, works=True)
    missing = re.findall(r"Failed to load (\S+?\.(?:so|dll)[\w.]*)", printed.getvalue())
    lacking = re.findall(r"(\S+\.(?:so|dll)[\w.]*): cannot open shared object", log.getvalue())
    names = sorted({os.path.basename(path) for path in missing + lacking})  # noqa: PTH119 - names inside a message
    reason = (
        f"missing {', '.join(names)}" if names else fault or _cuda_driver_fault() or "ONNX Runtime gave a CPU session"
    )
    return ProviderStatus(name=name, execution_provider=execution_provider, works=False, reason=reason)


def _cuda_driver_fault() -> str:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver"
    return ""


@contextlib.contextmanager
def _captured_stderr() -> Iterator[io.StringIO]:
    """Native code logs to file descriptor 2, past ``sys.stderr``."""
    captured = io.StringIO()
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # closed by the caller
        yield captured
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield captured
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            captured.write(file.read().decode("utf-8", "replace"))


# Relu on float[n], opset 17, IR version 8: the smallest graph that every provider takes. Written out, because the
# inference side does not depend on the onnx package.
_PROBE_MODEL = bytes.fromhex(
    "08083a390a0c0a0178120179220452656c75120570726f62655a100a0178120b0a09080112050a0312016e"
    "62100a0179120b0a09080112050a0312016e42040a001011"
)
