"""Search for the first wrong node of a reduced precision, by comparing its tensors with the PyTorch program's in order.

The exporter names the graph's tensors after the nodes of the PyTorch program, and the simplifier keeps the names of
what it keeps. So the program, run node by node in float32, has the true value of every tensor that kept its name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from polyexport.errors import reason_of
from polyexport.export.graph.foreign import inner_values
from polyexport.export.precision.precision import NodeTolerance
from polyexport.export.proof.parity import Candidate

__all__ = ["Cause", "failing_node", "find_cause", "open_unfused", "program_values", "symbolic_value"]

_FATAL_SEVERITY = 4  # ONNX Runtime's log level that leaves out errors, which become messages here


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """The first node whose output is wrong."""

    node: str
    operator: str
    tensor: str
    detail: str
    layer: str = ""
    """Dotted name of the network's submodule that the node belongs to; empty if it is not known."""

    def __str__(self) -> str:
        place = f"tensor {self.tensor}, submodule {self.layer}" if self.layer else f"tensor {self.tensor}"
        return f"{self.operator} {self.node} ({place}): {self.detail}"


class _Recorder(fx.Interpreter):
    """Runs a program and keeps every tensor under its node's name."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, NDArray[Any]] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_function" and "onnx_symbolic" in str(n.target):
            arguments, _ = self.fetch_args_kwargs_from_env(n)
            value = symbolic_value(*arguments[:2])
        else:
            value = super().run_node(n)
        if n.op == "call_function":
            self.values |= inner_values(n, self.fetch_args_kwargs_from_env(n)[0])
        if isinstance(value, Tensor):
            self.values[n.name] = value.detach().numpy()
        return value


def symbolic_value(inputs: list[Tensor], operator: str) -> Tensor:
    """Compute the two ONNX operators that the wrapper writes, after their definitions in the ONNX standard."""
    value, scale, zero_point = inputs
    if operator == "DequantizeLinear":
        return (value.to(torch.int32) - zero_point.to(torch.int32)).to(torch.float32) * scale
    assert operator == "QuantizeLinear", operator
    return (torch.round(value / scale) + zero_point).clamp(0, 255).to(torch.uint8)


def program_values(
    program: torch.export.ExportedProgram, output: str, *inputs: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Run a traced program in float32 on the CPU.

    Args:
        program: The program.
        output: Name of the graph's output.
        inputs: Inputs in the program's order.

    Returns:
        Every tensor under the name that it has in the graph.
    """
    recorder = _Recorder(program.module())
    with torch.inference_mode():
        recorder.run(*(torch.from_numpy(np.array(value)) for value in inputs))
    outputs = [spec.arg.name for spec in program.graph_signature.output_specs]
    recorder.values[output] = recorder.values[outputs[0]]
    return recorder.values


def find_cause(
    candidate: Candidate,
    values: dict[str, NDArray[Any]],
    feeds: Mapping[str, NDArray[Any]],
    tolerance: NodeTolerance,
) -> Cause | None:
    """Compare a graph's tensors with the program's.

    Args:
        candidate: The graph.
        values: Result of ``program_values`` for the same inputs.
        feeds: Inputs of the graph by name.
        tolerance: Largest error of a tensor that counts as rounding, from the graph's precision.

    Returns:
        The first node in the graph's order with a wrong output, or the node on which it fails; None if every tensor
        that can be compared agrees.
    """
    graph = candidate.model.graph
    produced = {output: node for node in graph.node for output in node.output}
    # A quantizer drops the Relu and clamps instead: only its dequantized output corresponds to the tensor.
    found_as = {name: f"{name}_DequantizeLinear_Output" for name in values}
    found_as = {name: other if other in produced else name for name, other in found_as.items()}
    names = [name for name in values if found_as[name] in produced]
    tapped = onnx.ModelProto()
    tapped.CopyFrom(candidate.model)
    present = {value.name for value in graph.output}
    taps = [found_as[name] for name in names]
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in taps if name not in present)
    try:
        session = open_unfused(tapped)
        found = dict(zip(names, session.run(taps, dict(feeds)), strict=True))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types
        return failing_node(graph, str(error), reason_of(error))
    for node in graph.node:
        for tensor in node.output:
            if tensor in found and (fault := _fault(values[tensor], found[tensor], tolerance)):
                return Cause(node=node.name, operator=node.op_type, tensor=tensor, detail=fault)
    return None


def open_unfused(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a session on the CPU that runs every node as it is written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _FATAL_SEVERITY
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def failing_node(graph: onnx.GraphProto, message: str, reason: str) -> Cause | None:
    """Return the node that a message of ONNX Runtime names as the one that failed; None if it names none."""
    named = {node.name: node for node in graph.node}
    for name in re.findall(r"'([^']+)'|Node \(([^)]+)\)", message):
        node = named.get(name[0] or name[1])
        if node is not None:
            return Cause(node=node.name, operator=node.op_type, tensor=node.output[0], detail=f"fails: {reason}")
    return None


def _fault(true: NDArray[Any], found: NDArray[Any], tolerance: NodeTolerance) -> str:
    """Return the reason why a tensor is wrong; empty if it is right."""
    if true.size != found.size:
        return f"shape {list(found.shape)}, PyTorch has {list(true.shape)}"
    levels = found.dtype == np.uint8
    expected, values = true.astype(np.float64).reshape(found.shape), found.astype(np.float64)
    if tolerance.scaled_channels and values.ndim == 4 and not levels:
        values = _unscaled(expected, values)
    if not np.isfinite(values).all() and np.isfinite(expected).all():
        return f"{np.count_nonzero(~np.isfinite(values))} of {values.size} values are NaN or infinite"
    error = np.abs(values - expected)
    largest, scale = float(error.max(initial=0.0)), float(np.sqrt(np.mean(np.square(expected)))) or 1.0
    if levels:
        return f"{error.mean():.3g} levels off in the mean" if error.mean() > tolerance.mean_levels else ""
    return (
        f"off by up to {largest:.3g}, root mean square {scale:.3g}"
        if largest > tolerance.relative_error * scale
        else ""
    )


def _unscaled(true: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, C, H, W] with every channel scaled to fit best: quantization equalizes them, which is not a fault."""
    along = (0, 2, 3)
    power = np.sum(np.square(found), axis=along, keepdims=True)
    scale = np.sum(true * found, axis=along, keepdims=True) / np.where(power > 0, power, 1)
    return found * np.where((scale > 0) & np.isfinite(scale), scale, 1)
