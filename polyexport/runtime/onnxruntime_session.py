"""Sessions of ONNX Runtime: on the CPU, and with tensors on a device."""

import contextlib
import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polyexport.runtime.native_log import captured_stderr
from polyexport.runtime.provider_options import DEVICES, EXECUTION_PROVIDERS, engine_folder, provider_list
from polyexport.runtime.session import SessionOptions, TensorType

__all__ = ["CpuSession", "DeviceSession", "create_session", "webgpu_devices"]

_LARGE_CALL_BYTES = 3 * 1024 * 1024
"""Of inputs, past which a call's memory is worth giving back."""

_KEPT_SHAPES = 8
"""For how many sets of input shapes a thread keeps its device tensors."""


class CpuSession:
    """One graph on ONNX Runtime's CPU provider."""

    stable_shapes = False
    images_per_call = 1
    computes_elsewhere = False

    def __init__(
        self,
        session: ort.InferenceSession,
        *,
        metadata: Mapping[str, str] | None = None,
        fallback_reason: str = "",
        releases_memory: bool = False,
    ) -> None:
        self._session = session
        self._releases_memory = releases_memory
        self.fallback_reason = fallback_reason
        self.metadata = dict(metadata or {})

    @property
    def execution_provider(self) -> str:
        return str(self._session.get_providers()[0])

    @property
    def inputs(self) -> dict[str, TensorType]:
        return {value.name: _tensor_type(value) for value in self._session.get_inputs()}

    @property
    def outputs(self) -> dict[str, TensorType]:
        return {value.name: _tensor_type(value) for value in self._session.get_outputs()}

    def placement(self) -> dict[str, dict[str, int]]:
        placed: dict[str, dict[str, int]] = {}
        for subgraph in self._session.get_provider_graph_assignment_info():
            operators = placed.setdefault(subgraph.ep_name, {})
            for node in subgraph.get_nodes():
                operators[node.op_type] = operators.get(node.op_type, 0) + 1
        return placed

    def end_profiling(self) -> Path:
        """Write the profile that ``SessionOptions.profile`` asked for, and return its file."""
        return Path(self._session.end_profiling())

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return self.run_all((output,), feeds)[0]

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        large = self._releases_memory and sum(value.nbytes for value in feeds.values()) > _LARGE_CALL_BYTES
        results: list[NDArray[Any]] = self._session.run(list(outputs), dict(feeds), _releasing() if large else None)
        return results


class DeviceSession(CpuSession):
    """One graph on a device: inputs are copied to tensors that stay there, outputs are copied back once.

    Each calling thread has tensors of its own. ONNX Runtime gives every run on CUDA a stream of its own
    (https://github.com/microsoft/onnxruntime/pull/13495), so that one thread copies while another computes.

    Where that is not safe, the threads take turns, with one set of tensors: on WebGPU, which has one queue and crashes
    when a thread copies while another runs, and with ``cuda_graph``, because a captured graph reads and writes fixed
    addresses and must not be replayed by two threads
    (https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html, "Using CUDA Graphs").
    """

    stable_shapes = True
    images_per_call = 16
    computes_elsewhere = True

    def __init__(
        self,
        session: ort.InferenceSession,
        *,
        device: str,
        device_id: int = 0,
        cuda_graph: bool = False,
        metadata: Mapping[str, str] | None = None,
        fallback_reason: str = "",
    ) -> None:
        super().__init__(session, metadata=metadata, fallback_reason=fallback_reason)
        self._device = (device, device_id)
        self._cuda_graph = cuda_graph
        self._turn = threading.Lock() if cuda_graph or device == "webgpu" else None
        self._own = threading.local()
        self._shared: dict[Any, _Binding] = {}

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        feeds = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        with self._turn or contextlib.nullcontext():
            return self._binding(tuple(outputs), feeds).run(feeds)

    def _binding(self, outputs: tuple[str, ...], feeds: Mapping[str, NDArray[Any]]) -> "_Binding":
        kept: dict[Any, _Binding] = self._shared if self._turn else self._own.__dict__.setdefault("kept", {})
        key = (outputs, tuple((name, value.dtype.str, value.shape) for name, value in feeds.items()))
        binding = kept.pop(key, None)
        if binding is None:
            full = len(kept) == _KEPT_SHAPES
            # A captured graph lives as long as the session: past the limit, a shape is run without one.
            graph_id = (-1 if full else len(kept) + 1) if self._cuda_graph else 0
            binding = _Binding(self._session, outputs, feeds, device=self._device, graph_id=graph_id)
            if graph_id == -1:
                return binding
            if full:
                del kept[next(iter(kept))]  # used longest ago
        kept[key] = binding
        return binding


class _Binding:
    """Tensors on a device for inputs of one set of shapes, and for the outputs that they give."""

    def __init__(
        self,
        session: ort.InferenceSession,
        outputs: tuple[str, ...],
        feeds: Mapping[str, NDArray[Any]],
        *,
        device: tuple[str, int],
        graph_id: int,
    ) -> None:
        self._session = session
        self._outputs = outputs
        self._binding = session.io_binding()
        self._inputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), value.dtype.type, *device)
            for name, value in feeds.items()
        }
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name in outputs:
            self._binding.bind_output(name, *device)
        self._results: Sequence[Any] = ()
        self._graph_id = graph_id

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        for name, value in feeds.items():
            self._inputs[name].update_inplace(value)
        # The first run finds out how large the outputs are; nothing is captured before their addresses are fixed.
        first = not self._results
        self._session.run_with_iobinding(
            self._binding, _run_options(-1 if first and self._graph_id else self._graph_id)
        )
        if first:
            self._results = self._binding.get_outputs()
            for name, result in zip(self._outputs, self._results, strict=True):
                self._binding.bind_ortvalue_output(name, result)
        arrays = [result.numpy() for result in self._results]
        # Where the device's memory is the host's, that was no copy.
        return [array if array.flags.owndata else array.copy() for array in arrays]


@functools.cache
def _releasing() -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


@functools.cache
def _run_options(graph_id: int) -> ort.RunOptions | None:
    """``gpu_graph_id`` tells captured graphs apart, -1 runs without one, and 0 is ONNX Runtime's own."""
    if graph_id == 0:
        return None
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph_id))
    return options


def create_session(
    model: bytes, name: str, options: SessionOptions, *, metadata: Mapping[str, str], fallback_reason: str = ""
) -> CpuSession:
    """A session that has the provider ``name`` first in its list. ONNX Runtime's own exceptions come out."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.granted_threads
    settings.log_severity_level = 3
    # Idle threads that spin take their core from the threads that decode and encode.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not options.fused:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.add_session_config_entry("session.disable_prepacking", "1")  # packed weights have no shape
    if options.profile:
        settings.enable_profiling = True
        settings.profile_file_prefix = options.profile
    if name == "webgpu":
        with captured_stderr():  # of Vulkan's loader and of Dawn
            settings.add_provider_for_devices(webgpu_devices()[:1], {})
            session = ort.InferenceSession(model, settings, enable_fallback=False)
    else:
        if name == "tensorrt":
            engine_folder(model).mkdir(parents=True, exist_ok=True)
        providers = provider_list(name, options, model)
        session = ort.InferenceSession(model, settings, providers=providers, enable_fallback=False)
    if name == "cpu":
        return CpuSession(
            session, metadata=metadata, fallback_reason=fallback_reason, releases_memory=options.releases_memory
        )
    return DeviceSession(
        session,
        device=DEVICES[name],
        device_id=options.device_id if name != "webgpu" else 0,
        cuda_graph=options.cuda_graph and name == "cuda",
        metadata=metadata,
        fallback_reason=fallback_reason,
    )


@functools.cache
def _register_webgpu() -> None:
    """Load the plugin: once, and only when someone asks for it."""
    import onnxruntime_ep_webgpu

    ort.register_execution_provider_library("polyexport.webgpu", onnxruntime_ep_webgpu.get_library_path())


def webgpu_devices() -> list[Any]:
    """What the WebGPU plugin offers; none without a GPU and a driver.

    Raises:
        ImportError: the plugin is not installed.
        RuntimeError: its library cannot be loaded.
    """
    with captured_stderr():
        _register_webgpu()
        return [device for device in ort.get_ep_devices() if device.ep_name == EXECUTION_PROVIDERS["webgpu"]]


def _tensor_type(value: Any) -> TensorType:
    return TensorType(str(value.type), tuple(e if isinstance(e, int) else None for e in value.shape))
