"""OpenVINO's own runtime, on the CPU.

ONNX Runtime's OpenVINO provider offers nothing on an AMD processor, so this uses the ``openvino`` package directly. The
package is imported when a session is opened, never before.
"""

import contextlib
import functools
import io
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ContractError, ProviderError, check_memory, reason_of
from polyexport.runtime.compiled_models import compiled_key, compiled_models
from polyexport.runtime.provider import MatmulFormat, Provider
from polyexport.runtime.session import LARGE_INPUT_BYTES, Session, SessionOptions, TensorType
from polyexport.storage.cache_folder import CacheUnusableError

__all__ = ["PROVIDER", "OpenVinoSession", "compile_options", "openvino_core"]

_OPENVINO = "OpenVINO"

# OpenVINO takes 0.2 s longer to start than ONNX Runtime, and saves 1 ms an image for each megabyte of weights: measured
# with `small` at 128x128, fp32 and int8. So its start does not pay for a run whose model bytes times images are fewer.
# Whether a compiled model is in the cache does not count: a run that carries on must take the provider it began with.
_MIN_BYTES_TIMES_IMAGES = 200_000_000

_KEPT_KERNELS_PER_KIND = 128
"""Number of kernels of each kind of operation that a stream keeps for further calls on shapes that it has seen. With
OpenVINO's default of 5000, `small` grows by 1.6 MiB for each shape. With 128 it serves about ten shapes in turn without
compiling; a call on another one takes 1 to 4 ms of CPU time longer. The kernels of the last shape are always kept."""

_KEPT_PRIMITIVES = 512
"""Number of kernels that oneDNN, below OpenVINO, keeps for all streams of the process; its default is 1024."""

_MAX_CHECKED_SHAPES = 4096
"""Number of sets of input shapes that a session remembers as fitting the graph."""

# OpenVINO's name of a type -> ONNX Runtime's.
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


class _OpenVino(Provider):
    name = "openvino"
    execution_provider = _OPENVINO
    remedy = "install it with `pip install 'polyexport[openvino]'`, or use --provider cpu"
    module = "openvino"
    runtime = "openvino"
    packages = ("openvino",)
    auto_rank = 200
    takes_whole_graph = True

    def open(self, model: bytes, options: SessionOptions) -> "OpenVinoSession":
        return OpenVinoSession(model, options)

    def auto_skips(self, model: bytes, options: SessionOptions) -> str:
        few = 0 < options.images * len(model) < _MIN_BYTES_TIMES_IMAGES
        return "starts too slowly for so few images" if few else ""

    def auto_refuses(self, session: Session, options: SessionOptions) -> str:
        assert isinstance(session, OpenVinoSession)
        unpacked = session.unpacked_weights() if options.precision == "int8" else 0
        # Such a model is half as fast as on ONNX Runtime, measured with `base`.
        return f"{unpacked} convolutions have 8-bit weights that it multiplies as floats" if unpacked else ""

    def float_bits(self, options: SessionOptions) -> int:
        return 7 if compile_options(options, _capabilities())["INFERENCE_PRECISION_HINT"] == "bf16" else 23

    def matmul_formats(self) -> tuple[MatmulFormat, ...]:
        return ("float32", "int8", "bfloat16") if "BF16" in _capabilities() else ("float32", "int8")


class OpenVinoSession:
    """One graph, compiled for the CPU. Safe to call from several threads."""

    # A new shape is compiled too, but only in about the time of a call.
    stable_shapes = False
    images_per_call = 4
    pixels_per_call = 16 * 256**2
    computes_elsewhere = True
    execution_provider = _OPENVINO

    def __init__(
        self,
        model: bytes,
        options: SessionOptions,
    ) -> None:
        """Read an ONNX model's bytes and compile it.

        Raises:
            ContractError: OpenVINO cannot read it.
            ProviderError: OpenVINO cannot compile it.
            ImportError: OpenVINO is not installed.
        """
        self._graph = _Graph(model)
        self._settings = compile_options(options, _capabilities())
        self.cache_note = ""
        # Reading the graph and giving it shapes takes as long as taking the compiled model from the cache. So with that
        # one, shapes are checked from the first error on.
        self._checks_shapes = True
        self._compiled = _Compiled(self._from_cache(model, options) if options.cache else self._compile(len(model)))
        self._releases_memory = options.releases_memory
        self._calls = 0
        self._release_due = False
        self._known: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
        self._lock = threading.Lock()
        self.fallback_reason = ""

    def _compile(self, size: int = 0) -> Any:
        """Compile the graph of a model of a size, bytes."""
        graph = self._graph.read()
        try:
            return openvino_core().compile_model(graph, "CPU", self._settings)
        except Exception as error:
            check_memory(error, f"compiling a model of {size} bytes with OpenVINO")
            raise ProviderError(
                f"openvino could not compile the model: {_plain(error)}", remedy="use --provider cpu"
            ) from error

    def _from_cache(self, model: bytes, options: SessionOptions) -> Any:
        """Take the compiled model from the user's cache folder, or compile it and keep it there."""
        folder, key = compiled_models(), _key(model, options)
        try:
            kept = folder.read(key)
            if kept is not None:
                compiled = openvino_core().import_model(io.BytesIO(kept), "CPU", self._settings)
                self.cache_note = f"compiled model taken from {folder.folder}"
                self._checks_shapes = False
                return compiled
        except CacheUnusableError as error:
            self.cache_note = f"compiled without a cache: {error}"
            return self._compile(len(model))
        except Exception as error:  # noqa: BLE001 - whatever OpenVINO raises for what it has written itself
            check_memory(error, f"loading a compiled model of {len(model)} bytes with OpenVINO")
            folder.remove(key)
        compiled = self._compile(len(model))
        try:
            written = compiled.export_model()
            folder.write(key, written if isinstance(written, bytes) else written.getvalue())
            self.cache_note = f"compiled model kept in {folder.folder}"
        except CacheUnusableError as error:
            self.cache_note = f"compiled model not kept: {error}"
        except Exception as error:  # noqa: BLE001 - a model that OpenVINO cannot write runs all the same
            self.cache_note = f"compiled model not kept: {reason_of(error)}"
        return compiled

    @property
    def inputs(self) -> dict[str, TensorType]:
        """Type of each input, by name."""
        return {port.any_name: _tensor_type(port) for port in self._compiled.model.inputs}

    @property
    def outputs(self) -> dict[str, TensorType]:
        """Type of each output, by name."""
        return {port.any_name: _tensor_type(port) for port in self._compiled.model.outputs}

    def placement(self) -> dict[str, dict[str, int]]:
        """Number of nodes of each operator of the compiled graph, whose operators OpenVINO fuses and names itself."""
        operators: dict[str, int] = {}
        for node in self._compiled.model.get_runtime_model().get_ops():
            operator = _layer(node)
            operators[operator] = operators.get(operator, 0) + 1
        return {_OPENVINO: operators}

    def unpacked_weights(self) -> int:
        """Number of convolutions whose integer weights are turned into floats in every call.

        OpenVINO multiplies integers only if the zero point of the weights is 0.
        """
        return sum(
            _layer(node) == "Convolution" and _layer(node.input_value(1).get_node()) != "Const"
            for node in self._compiled.model.get_runtime_model().get_ops()
        )

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the graph once and return one output as a new array."""
        return self.run_all((output,), feeds)[0]

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph once and return several outputs as new arrays."""
        shared = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        checked = self._checks_shapes
        if checked:
            self._check_shapes(shared)
        with self._memory_of_call(shared):
            try:
                return self._run(outputs, shared)
            except Exception:
                if checked:
                    raise
                # Either these shapes do not fit, which is said now, or another call's have damaged the compiled graph.
                self._checks_shapes = True
                self._check_shapes(shared)
                return self._run(outputs, shared)

    def _run(self, outputs: Sequence[str], shared: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        compiled = self._compiled
        try:
            request = compiled.request()
            # `infer` with one thread would lose the exception of a failed call, and return an earlier call's results.
            request.start_async(shared, share_inputs=True)
            request.wait()
            return [request.get_tensor(name).data.copy() for name in outputs]
        except Exception:
            # A failed call leaves shapes behind that make later calls fail.
            with self._lock:
                if self._compiled is compiled:
                    self._compiled = _Compiled(self._compile())
            raise

    @contextlib.contextmanager
    def _memory_of_call(self, feeds: Mapping[str, NDArray[Any]]) -> Iterator[None]:
        """Give the memory of large calls back, if that is wanted, as soon as no call is running."""
        if not self._releases_memory:
            yield
            return
        with self._lock:
            self._calls += 1
            self._release_due |= sum(value.nbytes for value in feeds.values()) > LARGE_INPUT_BYTES
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if self._release_due and not self._calls:
                    self._compiled.model.release_memory()
                    self._release_due = False

    def _check_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Raise an error for shapes that do not fit the graph, because they could damage the compiled one."""
        shapes = tuple((name, value.shape) for name, value in feeds.items())
        if shapes in self._known:
            return
        with self._lock:
            self._graph.twin().reshape({name: list(shape) for name, shape in shapes})
            if len(self._known) == _MAX_CHECKED_SHAPES:
                self._known.clear()
            self._known.add(shapes)


class _Graph:
    """The graph of a model, read when it is needed, and a copy of it that tells which shapes fit."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._lock = threading.RLock()
        self._graph: Any = None
        self._twin: Any = None

    def read(self) -> Any:
        """Return the graph.

        Raises:
            ContractError: OpenVINO cannot read it.
        """
        with self._lock:
            if self._graph is None:
                size = len(self._model)
                try:
                    self._graph = openvino_core().read_model(io.BytesIO(self._model))
                except Exception as error:
                    check_memory(error, f"reading a model of {size} bytes with OpenVINO")
                    raise ContractError(
                        f"not a whole ONNX model that OpenVINO can read: {_plain(error)}",
                        remedy="give a model that `polyexport export` wrote, or use --provider cpu",
                    ) from error
                self._model = b""
            return self._graph

    def twin(self) -> Any:
        """Return a copy of the graph, whose inputs may be given shapes.

        Raises:
            ContractError: OpenVINO cannot read it.
        """
        with self._lock:
            if self._twin is None:
                self._twin = self.read().clone()
            return self._twin


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
    """Choose the properties of OpenVINO's CPU device.

    All but the last are documented at
    https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes/cpu-device.html.

    Args:
        options: how the session uses this machine.
        capabilities: the device's OPTIMIZATION_CAPABILITIES.
    """
    shorter = options.use_tf32 and "BF16" in capabilities
    return {
        "NUM_STREAMS": options.streams,
        "INFERENCE_NUM_THREADS": options.granted_threads * options.streams,
        "INFERENCE_PRECISION_HINT": "bf16" if shorter else "f32",
        "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_KERNELS_PER_KIND,
    }


def _key(model: bytes, options: SessionOptions) -> str:
    """Return the key of a compiled model. OpenVINO is not imported: which formats it has follows from the processor."""
    return compiled_key(model, "openvino", compile_options(options, ("BF16",)))


def _capabilities() -> Sequence[str]:
    """Capabilities of the CPU device: ``BF16`` is among them if the CPU multiplies faster in bfloat16."""
    capabilities: Sequence[str] = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capabilities


@functools.cache
def openvino_core() -> Any:
    """Return OpenVINO's ``Core``, without its telemetry.

    When the package is imported, it sends an event from a child process and writes files into the user's home. It has a
    stub for installations without ``openvino_telemetry``, so that module is hidden while ``openvino`` is imported.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    name = "openvino_telemetry"
    known = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment] # the import system's mark for what must not be found
    try:
        # Its documentation: https://uxlfoundation.github.io/oneDNN/dev_guide_primitive_cache.html
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KEPT_PRIMITIVES))
        import openvino
    finally:
        if known is None:
            del sys.modules[name]
        else:
            sys.modules[name] = known
    return openvino.Core()


def _layer(node: Any) -> str:
    """OpenVINO's name for the operation of a node of a compiled graph."""
    return str(node.get_rt_info()["layerType"].astype(str))


def _tensor_type(port: Any) -> TensorType:
    name = port.element_type.get_type_name()
    shape = tuple(extent.get_length() if extent.is_static else None for extent in port.partial_shape)
    return TensorType(f"tensor({_DTYPES.get(name, name)})", shape)


def _plain(error: Exception) -> str:
    """The message of an exception, without the places in OpenVINO's source code at its beginning."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    places = r"Exception from |FrontEnd API failed|Check '.*' failed at \S+:\d+:$"
    return reason_of(RuntimeError(" ".join([line for line in lines if not re.match(places, line)] or lines)))


PROVIDER = _OpenVino()
