"""Quantization of an fp32 graph for CPUs: uint8 activations, signed 8-bit weights per output channel, in QDQ form.

Calibration and the insertion of QuantizeLinear and DequantizeLinear are ONNX Runtime's. Three things are ours. Which
nodes: every Conv between image and output, and what carries integers from one of them to the next; the uint8
conversions, the color's path and the surroundings of a Conv kept in float stay as they are. In which steps: the
channels of a tensor are equalized first. And what is not rounded: a sum that goes on past a Conv, as those of residual
blocks do, is rounded for the Conv alone.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import MinMaxCalibrater, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from polyexport.errors import ModelError, reason_of
from polyexport.export.graph.equalization import Calibration, ConvGraph, equalize, equalized_ranges
from polyexport.export.graph.trace import check_graph
from polyexport.storage.scratch import libraries_in_scratch_folder, scratch_folder

__all__ = ["Feeds", "QuantizationOptions", "calibrate", "measured", "quantizable", "quantize", "with_names"]

Feeds = Mapping[str, NDArray[Any]]
"""A graph's inputs by name."""

_DEQUANTIZED = "_DequantizeLinear_Output"
"""End of the name that ONNX Runtime's quantizer gives to a tensor of which it has made integers and floats again."""

_CARRIERS = ("MaxPool", "Resize", "Concat")  # operators that hand integers on
_REMEDY = "nothing was written; export with --precision fp32"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizationOptions:
    """Format of the quantized weights."""

    weight_bits: Literal[7, 8] = 7
    """Bits of a weight. Eight are for CPUs with VNNI only: others add two products in 16 bits (vpmaddubsw), which those
    of 7 bits never overflow."""

    general_kernel_channels: int | None = None
    """Conv nodes with so many input channels get the weight zero point -1, which sends them past ONNX Runtime's
    symmetric kernel to the only one that uses AMX: faster from 256 channels on where there is AMX, slower elsewhere."""


def with_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in which every node has a name of its own; a copy if one had to be given."""
    names = [node.name for node in model.graph.node]
    if len(set(names)) == len(names) and "" not in names:
        return model
    named = onnx.ModelProto()
    named.CopyFrom(model)
    taken = set(names)
    seen: set[str] = set()
    for number, node in enumerate(named.graph.node):
        if node.name in seen or not node.name:
            node.name = next(
                name
                for tail in itertools.count()
                if (name := f"{node.op_type}_{number}" + (f"_{tail}" if tail else "")) not in taken
            )
            taken.add(node.name)
        seen.add(node.name)
    return named


def quantizable(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the Conv nodes that can be quantized, in graph order.

    Raises:
        ModelError: Two of them share a name, or one has none.
    """
    names = tuple(node.name for node in ConvGraph(model.graph).convolutions())
    if len(set(names)) < len(names) or "" in names:
        raise ModelError("the graph's Conv nodes cannot be told apart by name", remedy=_REMEDY)
    return names


def measured(model: onnx.ModelProto, calibration: Calibration) -> tuple[str, ...]:
    """Names of the Conv nodes, of those that can be quantized, whose ranges are known, in graph order.

    Where no shape is known, as behind an operator of another domain, no range was measured.
    """
    graph = ConvGraph(model.graph)
    known = calibration.highs.keys()
    return tuple(
        node.name
        for node in graph.convolutions()
        if {node.input[0], node.output[0], (graph.clamp_of(node) or node).output[0]} <= known
    )


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]]:
        return dict(next(self._feeds, {}))


def calibrate(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> Calibration:
    """Run an fp32 graph with uint8 images and keep the range of every channel (MinMax), one run for each feed.

    Clipping, at a percentile or where the squared error is least, gained nothing on equalized channels.

    Raises:
        ValueError: no feeds.
        ModelError: the graph does not run on them, or not to finite values.
    """
    if not feeds:
        raise ValueError("calibration needs at least one feed")
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        onnx.save(model, path)
        try:
            augmented = str(path.with_name("augmented.onnx"))
            calibrater = MinMaxCalibrater(path, ["Conv", "Relu", "Clip", *_CARRIERS], augmented, per_channel=True)
            calibrater.augment_graph()
            calibrater.create_inference_session()
            calibrater.collect_data(_Reader(feeds))
        except Exception as error:
            raise ModelError(f"the graph cannot be calibrated: {reason_of(error)}", remedy=_REMEDY) from error
    found = {name: each.range_value for name, each in sorted(calibrater.compute_data().items())}
    if not all(np.isfinite(each).all() for each in found.values()):
        raise ModelError("the graph cannot be calibrated: some of its values are not finite", remedy=_REMEDY)
    return Calibration(
        lows={name: low for name, (low, _) in found.items()}, highs={name: high for name, (_, high) in found.items()}
    )


def quantize(
    model: onnx.ModelProto,
    calibration: Calibration,
    *,
    keep_float: Collection[str],
    options: QuantizationOptions | None = None,
) -> onnx.ModelProto:
    """Quantize the graph that was calibrated, all but the Conv nodes named in ``keep_float``; it is left alone.

    Raises:
        ValueError: ``keep_float`` names a node that is not a Conv of this graph.
        ModelError: the result is not valid ONNX.
    """
    names = quantizable(model)
    unknown = sorted(set(keep_float) - set(names))
    if unknown:
        raise ValueError(f"no such Conv: {', '.join(unknown)}; there are {', '.join(names)}")
    scaled = equalize(model, calibration)
    graph = ConvGraph(scaled.graph)
    nodes = _integer_nodes(graph, keep_float)
    if not nodes:
        return scaled
    with libraries_in_scratch_folder():  # for shape inference
        quantizer = QDQQuantizer(
            scaled,
            per_channel=True,
            reduce_range=False,  # the weights' steps are given
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, equalized_ranges(graph, calibration)),
            nodes_to_quantize=[node.name for node in nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            extra_options={"TensorQuantOverrides": _weights(graph, nodes, options or QuantizationOptions())},
        )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    _keep_sums(result.graph, graph, {node.name for node in nodes})
    del result.metadata_props[:], result.graph.value_info[:]  # what shape inference left there
    result.metadata_props.extend(model.metadata_props)
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    check_graph(result)
    return result


def _integer_nodes(graph: ConvGraph, keep_float: Collection[str]) -> list[NodeProto]:
    """Nodes that compute in integers: Conv, its Relu, and what carries one Conv's output to the next."""
    chosen = {node.name for node in graph.convolutions()} - set(keep_float)
    wanted: set[str] = set()  # tensors that a chosen Conv will read
    for node in reversed(graph.nodes):
        if node.name in chosen:
            wanted.add(node.input[0])
        elif node.op_type in _CARRIERS and node.output[0] in wanted:
            wanted.update(node.input if node.op_type == "Concat" else node.input[:1])
    nodes: list[NodeProto] = []
    integer: set[str] = set()  # tensors made in integers
    for node in graph.nodes:
        maker = graph.makers.get(node.input[0]) if node.input else None
        relu = maker is not None and maker.name in chosen and graph.clamp_of(maker) is node
        carries = node.op_type in _CARRIERS and node.output[0] in wanted and not integer.isdisjoint(node.input)
        if node.name in chosen or relu or carries:
            nodes.append(node)
            integer.add(node.output[0])
    return nodes


def _keep_sums(quantized: onnx.GraphProto, graph: ConvGraph, integer: Collection[str]) -> None:
    """Let nodes in float read what nodes in float made, not what became of it in the steps of a Conv that reads it."""
    made = {name for node in graph.nodes if node.name not in integer for name in node.output}
    for node in quantized.node:
        if node.name in integer or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for place, name in enumerate(node.input):
            own = name.removesuffix(_DEQUANTIZED)
            if own != name and own in made:
                node.input[place] = own


def _weights(
    graph: ConvGraph, nodes: Sequence[NodeProto], options: QuantizationOptions
) -> dict[str, list[dict[str, Any]]]:
    """The step of each Conv's weights, by output channel, as ONNX Runtime's TensorQuantOverrides."""
    overrides = {}
    for node in nodes:
        if node.op_type == "Conv":
            values = numpy_helper.to_array(graph.weights[node.input[1]])
            steps = np.abs(values).reshape(len(values), -1).max(axis=1) / np.float32(2 ** (options.weight_bits - 1) - 1)
            zero = np.int8(-1 if values.shape[1] >= (options.general_kernel_channels or np.inf) else 0)
            shared = {"quant_type": QuantType.QInt8, "axis": 0, "zero_point": zero}
            overrides[node.input[1]] = [shared | {"scale": step or np.float32(1)} for step in steps]
    return overrides
