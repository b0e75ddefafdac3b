"""Sensitivity of a network's layers to quantization: each one alone computes with the steps of 8 bits, in one session.

A graph is written once with every chosen Conv twice in it: with its own input, weights and output, and with those
rounded to the steps that they would have. A graph input for each layer says which of the two it takes. So a
layer costs a run of the network, and no graph has to be written, optimized and opened for it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polyexport.export.graph.equalization import Calibration, ConvGraph, equalize, equalized_ranges
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

__all__ = ["MAX_RUNS", "layer_sensitivity"]

MAX_RUNS = 48
"""Largest number of groups of layers that are measured, each by one run of the network on every image; the layers of a
network with fewer are measured one by one."""

_FLAG = "polyexport_rounded_"


def layer_sensitivity(
    model: onnx.ModelProto,
    calibration: Calibration,
    names: Sequence[str],
    feeds: Sequence[Mapping[str, NDArray[Any]]],
    output: str,
    *,
    weight_bits: int = 7,
) -> dict[str, float]:
    """Measure how far the result moves while one layer, or one of ``MAX_RUNS`` groups of neighbors, is rounded.

    Args:
        model: The fp32 graph that was calibrated.
        calibration: Ranges of its channels.
        names: Conv nodes, in graph order.
        feeds: Inputs of the graph, on each of which every group is run.
        output: Name of its 8-bit output.
        weight_bits: Bits of a weight.

    Returns:
        For each name the mean squared error of the result in squared levels, that of its group divided by the number of
        layers in it.
    """
    groups = [list(group) for group in np.array_split(np.array(names, dtype=object), min(MAX_RUNS, len(names)))]
    switched = _switched(model, calibration, names, weight_bits)
    session = open_session(switched.SerializeToString(), SessionOptions(provider="cpu"))
    flags = {f"{_FLAG}{name}": np.array(False) for name in names}
    before = [session.run(output, {**feed, **flags}).astype(np.int32) for feed in feeds]
    found: dict[str, float] = {}
    for group in groups:
        chosen = flags | {f"{_FLAG}{name}": np.array(True) for name in group}
        errors = [
            float(np.mean(np.square(session.run(output, {**feed, **chosen}).astype(np.int32) - true)))
            for feed, true in zip(feeds, before, strict=True)
        ]
        found |= {str(name): float(np.mean(errors)) / len(group) for name in group}
    return found


def _switched(
    model: onnx.ModelProto, calibration: Calibration, names: Collection[str], weight_bits: int
) -> onnx.ModelProto:
    """Write a graph with an input for each layer, bool [], that rounds what the layer reads, holds and makes."""
    scaled = equalize(model, calibration)
    graph = ConvGraph(scaled.graph)
    ranges = equalized_ranges(graph, calibration)
    chosen = {node.name for node in graph.nodes if node.op_type == "Conv" and node.name in names}
    last = {(graph.clamp_of(node) or node).output[0]: node.name for node in graph.nodes if node.name in chosen}
    nodes: list[NodeProto] = []
    constants = scaled.graph.initializer
    for node in graph.nodes:
        if node.op_type == "Conv" and node.name in chosen:
            flag = f"{_FLAG}{node.name}"
            scaled.graph.input.append(helper.make_tensor_value_info(flag, TensorProto.BOOL, []))
            read, steps, weight = f"{flag}_read", f"{flag}_steps", f"{flag}_weight"
            nodes += _rounding(constants, node.input[0], read, flag, *ranges[node.input[0]])
            constants.append(_rounded_weight(graph.weights[node.input[1]], steps, weight_bits))
            nodes.append(helper.make_node("Where", [flag, steps, node.input[1]], [weight]))
            node.input[0], node.input[1] = read, weight
        nodes.append(node)
        made = node.output[0] if node.output else ""
        if made in last:
            flag = f"{_FLAG}{last[made]}"
            node.output[0] = f"{flag}_made"
            nodes += _rounding(constants, node.output[0], made, flag, *ranges[made])
    del scaled.graph.node[:]
    scaled.graph.node.extend(nodes)
    del scaled.graph.value_info[:]
    return scaled


def _rounding(
    constants: Any, source: str, target: str, flag: str, low: np.float32, high: np.float32
) -> Iterator[NodeProto]:
    """Make the nodes that round a tensor to 8 bits if the flag is set."""
    step = np.float32((float(high) - float(low)) / 255) or np.float32(1)
    scale, zero = f"{target}_step", f"{target}_zero"
    constants.append(numpy_helper.from_array(np.asarray(step), scale))
    constants.append(numpy_helper.from_array(np.asarray(np.rint(-low / step), np.uint8), zero))
    yield helper.make_node("QuantizeLinear", [source, scale, zero], [f"{target}_levels"])
    yield helper.make_node("DequantizeLinear", [f"{target}_levels", scale, zero], [f"{target}_rounded"])
    yield helper.make_node("Where", [flag, f"{target}_rounded", source], [target])


def _rounded_weight(weight: TensorProto, name: str, bits: int) -> TensorProto:
    """Round a weight [O, ...] to its steps, one for each output channel."""
    values = numpy_helper.to_array(weight)
    largest = np.abs(values).reshape(len(values), -1).max(axis=1) / np.float32(2 ** (bits - 1) - 1)
    steps = np.where(largest > 0, largest, 1).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return numpy_helper.from_array(np.rint(values / steps) * steps, name)
