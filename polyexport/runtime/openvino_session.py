"""Sessions of OpenVINO's own runtime, on the CPU. OpenVINO is imported when a session is asked for, never before."""

import functools
import io
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ContractError, ProviderError, reason_of
from polyexport.runtime.session import SessionOptions, TensorType

__all__ = ["OPENVINO", "OpenVinoSession", "compile_options", "has_bfloat16", "openvino_core"]

OPENVINO = "OpenVINO"

_KNOWN_SHAPES = 4096

# OpenVINO's word for a type -> ONNX Runtime's.
_DTYPES = {
    "boolean": "bool",
    "f16": "float16",
    "f32": "float",
    "f64": "double",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
}


class OpenVinoSession:
    """One graph, compiled for the CPU. Safe to call from several threads."""

    # New shapes are compiled too, in about the time of a call.
    stable_shapes = False
    images_per_call = 4
    computes_elsewhere = True
    execution_provider = OPENVINO

    def __init__(
        self,
        model: bytes,
        options: SessionOptions,
        *,
        metadata: Mapping[str, str] | None = None,
        fallback_reason: str = "",
    ) -> None:
        """Read an ONNX model's bytes and compile it.

        Raises:
            ContractError: OpenVINO cannot read it.
            ProviderError: OpenVINO cannot compile it.
            ImportError: OpenVINO is not installed.
        """
        core = openvino_core()
        try:
            graph = core.read_model(io.BytesIO(model))
        except Exception as error:
            raise ContractError(
                f"not a whole ONNX model that OpenVINO can read: {_plain(error)}",
                remedy="give a model that `polyexport export` wrote, or use --provider cpu",
            ) from error
        settings = compile_options(options, _capabilities())
        self._compile: Callable[[], Any] = lambda: core.compile_model(graph, "CPU", settings)
        try:
            self._compiled = _Compiled(self._compile())
        except Exception as error:
            raise ProviderError(
                f"openvino could not compile the model: {_plain(error)}", remedy="use --provider cpu"
            ) from error
        self._twin = graph.clone()
        self._known: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
        self._lock = threading.Lock()
        self.fallback_reason = fallback_reason
        self.metadata = dict(metadata or {})

    @property
    def inputs(self) -> dict[str, TensorType]:
        return {port.any_name: _tensor_type(port) for port in self._compiled.model.inputs}

    @property
    def outputs(self) -> dict[str, TensorType]:
        return {port.any_name: _tensor_type(port) for port in self._compiled.model.outputs}

    def placement(self) -> dict[str, dict[str, int]]:
        """Of the compiled graph: OpenVINO fuses nodes and gives them names of its own."""
        operators: dict[str, int] = {}
        for node in self._compiled.model.get_runtime_model().get_ops():
            operator = _layer(node)
            operators[operator] = operators.get(operator, 0) + 1
        return {OPENVINO: operators}

    def unpacked_weights(self) -> int:
        """How many convolutions have their integer weights turned into floats in every call.

        OpenVINO multiplies integers only where the weights' zero point is 0.
        """
        return sum(
            _layer(node) == "Convolution" and _layer(node.input_value(1).get_node()) != "Const"
            for node in self._compiled.model.get_runtime_model().get_ops()
        )

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return self.run_all((output,), feeds)[0]

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        shared = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        self._check_shapes(shared)
        compiled = self._compiled
        try:
            request = compiled.request()
            # Not `infer`: with one thread that loses the exception of a failed call, and the results are of another.
            request.start_async(shared, share_inputs=True)
            request.wait()
            return [request.get_tensor(name).data.copy() for name in outputs]
        except Exception:
            # A failed call leaves shapes behind that the next ones trip over.
            with self._lock:
                if self._compiled is compiled:
                    self._compiled = _Compiled(self._compile())
            raise

    def _check_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Shapes that do not fit the graph never reach the compiled one, which may not survive them."""
        shapes = tuple((name, value.shape) for name, value in feeds.items())
        if shapes in self._known:
            return
        with self._lock:
            self._twin.reshape({name: list(shape) for name, shape in shapes})
            if len(self._known) == _KNOWN_SHAPES:
                self._known.clear()
            self._known.add(shapes)


class _Compiled:
    """A compiled graph, and an infer request for each thread that calls it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._own = threading.local()

    def request(self) -> Any:
        if not hasattr(self._own, "request"):
            self._own.request = self.model.create_infer_request()
        return self._own.request


def compile_options(options: SessionOptions, capabilities: Sequence[str]) -> dict[str, Any]:
    """Properties of OpenVINO's CPU device, documented at
    https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes/cpu-device.html.

    Args:
        options: of the session.
        capabilities: the device's OPTIMIZATION_CAPABILITIES.
    """
    shorter = options.use_tf32 and "BF16" in capabilities
    return {
        "NUM_STREAMS": options.streams,
        "INFERENCE_NUM_THREADS": options.granted_threads * options.streams,
        "INFERENCE_PRECISION_HINT": "bf16" if shorter else "f32",
    }


def has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 faster than in float32, and so whether float32 is multiplied in that.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return "BF16" in _capabilities()


def _capabilities() -> Sequence[str]:
    capabilities: Sequence[str] = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capabilities


@functools.cache
def openvino_core() -> Any:
    """OpenVINO, without its telemetry.

    The package sends an event when it is imported, from a child that it forks, and leaves files in the user's home. It
    has a stub for where ``openvino_telemetry`` is not installed; so, while it is imported, it is not.
    """
    name = "openvino_telemetry"
    known = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment] # the import system's mark for what must not be found
    try:
        import openvino
    finally:
        if known is None:
            del sys.modules[name]
        else:
            sys.modules[name] = known
    return openvino.Core()


def _layer(node: Any) -> str:
    """Of the compiled graph."""
    return str(node.get_rt_info()["layerType"].astype(str))


def _tensor_type(port: Any) -> TensorType:
    name = port.element_type.get_type_name()
    shape = tuple(extent.get_length() if extent.is_static else None for extent in port.partial_shape)
    return TensorType(f"tensor({_DTYPES.get(name, name)})", shape)


def _plain(error: Exception) -> str:
    """The message of an exception without the places in OpenVINO's source that it begins with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    places = r"Exception from |FrontEnd API failed|Check '.*' failed at \S+:\d+:$"
    return reason_of(RuntimeError(" ".join([line for line in lines if not re.match(places, line)] or lines)))
