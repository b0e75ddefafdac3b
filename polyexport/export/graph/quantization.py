"""Quantization of an fp32 graph for CPUs: uint8 activations, signed 8-bit weights per output channel, in QDQ form.

Calibration and the insertion of QuantizeLinear and DequantizeLinear are ONNX Runtime's. Three things are ours. Which
nodes: every Conv between image and output, and what carries integers from one of them to the next; the uint8
conversions, the color's path and the surroundings of a Conv kept in float stay as they are. In which steps: the
channels of a tensor are equalized first. And how much: a search keeps in float whatever costs the most quality.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import MinMaxCalibrater, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from polyexport.errors import ModelError, ParityError, reason_of
from polyexport.export.graph.equalization import Calibration, ConvGraph, equalize, equalized_ranges
from polyexport.export.graph.trace import check_graph
from polyexport.storage.scratch import libraries_in_scratch_folder, scratch_folder

__all__ = ["Feeds", "QuantizationOptions", "SearchResult", "calibrate", "quantizable", "quantize", "search"]

Feeds = Mapping[str, NDArray[Any]]
"""A graph's inputs by name."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The graph that a search found."""

    model: onnx.ModelProto
    kept_float: tuple[str, ...]
    """Names of the Conv nodes that stay in float, in graph order."""

    log: tuple[str, ...]
    """One line for each graph that was scored."""


def quantizable(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the Conv nodes that can be quantized, in graph order.

    Raises:
        ModelError: Two of them share a name, or one has none.
    """
    names = tuple(node.name for node in ConvGraph(model.graph).convolutions())
    if len(set(names)) < len(names) or "" in names:
        raise ModelError("the graph's Conv nodes cannot be told apart by name", remedy=_REMEDY)
    return names


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
            calibrater = MinMaxCalibrater(path, ["Conv", "Relu", *_CARRIERS], augmented, per_channel=True)
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
        relu = node.op_type == "Relu" and maker is not None and maker.name in chosen and graph.relu_of(maker) is node
        carries = node.op_type in _CARRIERS and node.output[0] in wanted and not integer.isdisjoint(node.input)
        if node.name in chosen or relu or carries:
            nodes.append(node)
            integer.add(node.output[0])
    return nodes


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


def search(
    model: onnx.ModelProto,
    calibration: Calibration,
    score: Callable[[onnx.ModelProto], float],
    *,
    floor: float,
    start: Collection[str],
    options: QuantizationOptions | None = None,
) -> SearchResult:
    """Quantize as many Conv nodes as the quality allows, and keep those in float that cost the most of it.

    Every Conv is scored as the only quantized one; then they are put back to float, worst first. That takes at most two
    scores for each Conv, and a single one if the graph with ``start`` in float is good enough.

    Args:
        model: The graph that was calibrated.
        calibration: Ranges of its channels, from ``calibrate``.
        score: Measures the quality of a candidate, such as its mean PSNR against the fp32 graph's images, dB.
        floor: Smallest score that is good enough.
        start: Names of Conv nodes that stay in float in any case.
        options: Format of the weights; the defaults of ``QuantizationOptions`` if None.

    Raises:
        ValueError: ``start`` names a node that is not a Conv of this graph.
        ParityError: The floor is not reached with any quantized Conv; the message names the best score.
    """
    names = quantizable(model)
    kept, best, log = set(start), -np.inf, list[str]()
    order: list[str] | None = None
    while len(kept) < len(names):
        candidate = quantize(model, calibration, keep_float=kept, options=options)
        reached = float(score(candidate))
        best = max(best, reached)
        in_order = tuple(name for name in names if name in kept)
        log.append(f"{reached:.2f} of {floor:.2f} with {', '.join(in_order) or 'no Conv'} in float")
        if reached >= floor:
            return SearchResult(model=candidate, kept_float=in_order, log=tuple(log))
        if order is None:
            alone = {}
            for name in (name for name in names if name not in kept):
                only = quantize(model, calibration, keep_float=set(names) - {name}, options=options)
                alone[name] = float(score(only))
                log.append(f"{alone[name]:.2f} with {name} alone in 8 bits")
            order = sorted(alone, key=lambda name: alone[name])  # stable: ties stay in graph order
        kept.add(order.pop(0))
    raise ParityError(
        f"the quantized graph scores {best:.2f} at best, expected at least {floor:.2f}",
        remedy="accept a larger loss with --max-loss, or export with another --precision",
    )
