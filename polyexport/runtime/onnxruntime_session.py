"""Sessions of ONNX Runtime: on the CPU, and with tensors on a device. Every ONNX Runtime provider uses these."""

import contextlib
import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polyexport.runtime.session import LARGE_INPUT_BYTES, SessionOptions, TensorType

__all__ = ["CPU", "CpuSession", "DeviceSession", "create_session", "session_settings"]

CPU = "CPUExecutionProvider"
"""ONNX Runtime's name for its CPU provider, which takes every node that the providers before it leave."""

_KEPT_INPUT_SHAPES = 8
"""Number of sets of input shapes whose device tensors a thread keeps."""


class CpuSession:
    """One graph on ONNX Runtime's CPU provider."""

    stable_shapes = False
    images_per_call = 4
    pixels_per_call = 4 * 128**2  # what follows the first layers is in the processor's cache when it is read again
    computes_elsewhere = False

    def __init__(
        self,
        session: ort.InferenceSession,
        *,
        releases_memory: bool = False,
    ) -> None:
        """Wrap a session of ONNX Runtime.

        Args:
            session: the session that runs the graph.
            releases_memory: after a call with large inputs, give its memory back to the system.
        """
        self._session = session
        self._releases_memory = releases_memory
        self.fallback_reason = ""
        self.cache_note = ""

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of the first provider that it took for the session."""
        return str(self._session.get_providers()[0])

    @property
    def inputs(self) -> dict[str, TensorType]:
        """Type of each input, by name."""
        return {value.name: _tensor_type(value) for value in self._session.get_inputs()}

    @property
    def outputs(self) -> dict[str, TensorType]:
        """Type of each output, by name."""
        return {value.name: _tensor_type(value) for value in self._session.get_outputs()}

    def placement(self) -> dict[str, dict[str, int]]:
        """Number of nodes of each operator on each execution provider, as ONNX Runtime assigned them."""
        placed: dict[str, dict[str, int]] = {}
        for subgraph in self._session.get_provider_graph_assignment_info():
            operators = placed.setdefault(subgraph.ep_name, {})
            for node in subgraph.get_nodes():
                operators[node.op_type] = operators.get(node.op_type, 0) + 1
        return placed

    def end_profiling(self) -> Path:
        """Write the profile that ``SessionOptions.profile`` asked for, and return its path."""
        return Path(self._session.end_profiling())

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Run the graph once and return one output as a new array."""
        return self.run_all((output,), feeds)[0]

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph once and return several outputs as new arrays."""
        large = self._releases_memory and sum(value.nbytes for value in feeds.values()) > LARGE_INPUT_BYTES
        results: list[NDArray[Any]] = self._session.run(
            list(outputs), dict(feeds), _memory_releasing_options() if large else None
        )
        return results


class DeviceSession(CpuSession):
    """One graph on a device: inputs are copied to tensors that stay there, outputs are copied back once.

    Each calling thread has its own tensors. ONNX Runtime gives every run on CUDA its own stream
    (https://github.com/microsoft/onnxruntime/pull/13495), so that one thread copies while another computes. Where a
    provider does not allow that, threads take turns and share one set of tensors.
    """

    stable_shapes = True
    images_per_call = 16
    pixels_per_call = 16 * 256**2
    computes_elsewhere = True

    def __init__(
        self,
        session: ort.InferenceSession,
        *,
        device: str,
        device_id: int = 0,
        one_call_at_a_time: bool = False,
    ) -> None:
        """Wrap a session of ONNX Runtime whose tensors are kept on a device.

        Args:
            session: the session that runs the graph.
            device: ONNX Runtime's name of the kind of device that holds the tensors.
            device_id: number of the device.
            one_call_at_a_time: let threads take turns, for providers that crash when calls overlap.
        """
        super().__init__(session)
        self._device = (device, device_id)
        self._turn = threading.Lock() if one_call_at_a_time else None
        self._own = threading.local()
        self._shared: dict[Any, _Binding] = {}

    def run_all(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph once and return several outputs as new arrays in host memory."""
        feeds = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        with self._turn or contextlib.nullcontext():
            return self._binding(tuple(outputs), feeds).run(feeds)

    def _binding(self, outputs: tuple[str, ...], feeds: Mapping[str, NDArray[Any]]) -> "_Binding":
        kept: dict[Any, _Binding] = self._shared if self._turn else self._own.__dict__.setdefault("kept", {})
        key = (outputs, tuple((name, value.dtype.str, value.shape) for name, value in feeds.items()))
        binding = kept.pop(key, None)
        if binding is None:
            binding = _Binding(self._session, outputs, feeds, device=self._device)
            if len(kept) == _KEPT_INPUT_SHAPES:
                del kept[next(iter(kept))]  # the least recently used
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

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        for name, value in feeds.items():
            self._inputs[name].update_inplace(value)
        self._session.run_with_iobinding(self._binding)
        if not self._results:  # the first run has found out how large the outputs are
            self._results = self._binding.get_outputs()
            for name, result in zip(self._outputs, self._results, strict=True):
                self._binding.bind_ortvalue_output(name, result)
        arrays = [result.numpy() for result in self._results]
        # On a device that shares the host's memory, numpy() returns a view of the tensor and not a copy.
        return [array if array.flags.owndata else array.copy() for array in arrays]


@functools.cache
def _memory_releasing_options() -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def session_settings(options: SessionOptions) -> ort.SessionOptions:
    """ONNX Runtime's own options of a session, but for its providers."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.granted_threads
    settings.log_severity_level = 3
    # A plan of the memory for every new shape is kept for ever, and each plan takes one block, which fits no other.
    settings.enable_mem_pattern = False
    # Idle threads that spin would take processor time from the threads that decode and encode.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not options.fused:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.add_session_config_entry("session.disable_prepacking", "1")  # a profile gives packed weights no shape
    if options.profile:
        settings.enable_profiling = True
        settings.profile_file_prefix = options.profile
    return settings


def create_session(
    model: bytes, options: SessionOptions, entries: Sequence[tuple[str, Mapping[str, str]]] = ()
) -> ort.InferenceSession:
    """Create a session of ONNX Runtime. ONNX Runtime's own exceptions are raised unchanged.

    Args:
        model: bytes of an ONNX file.
        options: how the session uses this machine.
        entries: name and options of each provider, the preferred one first. The CPU provider is added behind them.
    """
    providers = [*((name, dict(values)) for name, values in entries), CPU]
    return ort.InferenceSession(model, session_settings(options), providers=providers, enable_fallback=False)


def _tensor_type(value: Any) -> TensorType:
    return TensorType(str(value.type), tuple(e if isinstance(e, int) else None for e in value.shape))
