"""Scaling the channels of a network's tensors to one range, without a change of what it computes.

One quantization step for a whole tensor is too coarse where its channels have different ranges. A Relu, a LeakyRelu and
a PRelu let a positive factor through, and so do pooling, resizing and concatenation: a channel is divided by its range
where it is made, and the weights of those that read it are multiplied by it (Nagel et al., 2019, arXiv:1906.04721).
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from polyexport.model.contract import IMAGE_INPUT

__all__ = ["Calibration", "ConvGraph", "coarse", "equalize", "equalized_ranges"]

_SIGNED = ("LeakyRelu", "PRelu")
"""Activations whose negative values are not zero."""

_MIN_CHANNEL_RANGE = 1e-3  # as a fraction of its tensor's range: a channel of nearly zeros is not scaled up to it


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Lowest and highest values of each channel of each float tensor, float32 [C] each, by the tensor's name."""

    lows: Mapping[str, NDArray[np.float32]]
    highs: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """A Conv with its activation, and all that its channels reach; they can be scaled together."""

    maker: NodeProto
    scale: NDArray[np.float64]
    """Divisor of each channel, [C]."""

    tensors: list[tuple[str, int]]
    """Name of each tensor that holds the channels, and the index of the first of them there."""

    signed: bool = False
    """Values below zero pass the activation, so that the Conv's own output is a tensor of its own."""

    readers: list[tuple[NodeProto, int]] = field(default_factory=list)
    """Each Conv that reads the channels, and the index of the first of them in its input."""


class ConvGraph:
    """A graph with the node that makes each tensor and the nodes that read it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(graph.node)
        self.outputs = {output.name for output in graph.output}
        self.weights = {each.name: each for each in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def convolutions(self) -> list[NodeProto]:
        """Return every Conv that depends on the image and has float32 weights that no other node reads."""
        seeing = {IMAGE_INPUT}
        for node in self.nodes:
            if not seeing.isdisjoint(node.input):
                seeing.update(node.output)
        return [n for n in self.nodes if n.op_type == "Conv" and n.input[0] in seeing and self._owned(n.input[1])]

    def _owned(self, name: str) -> bool:
        weight = self.weights.get(name)
        return weight is not None and weight.data_type == TensorProto.FLOAT and len(self.readers[name]) == 1

    def clamp_of(self, conv: NodeProto) -> NodeProto | None:
        """Return the Relu, or the Clip from zero, that is the only reader of a Conv; None if there is none.

        The steps of its result, from zero to the largest value that was seen, cut off what it would.
        """
        reader = self._only_reader(conv)
        if reader is not None and reader.op_type == "Clip" and len(reader.input) > 1:
            least = self.weights.get(reader.input[1])
            return reader if least is not None and not np.any(numpy_helper.to_array(least)) else None
        return reader if reader is not None and reader.op_type == "Relu" else None

    def _scaling(self, conv: NodeProto) -> NodeProto | None:
        """Return the activation, the only reader of a Conv, that lets the scale of a channel through."""
        reader = self._only_reader(conv)
        return reader if reader is not None and reader.op_type in ("Relu", *_SIGNED) else None

    def _only_reader(self, conv: NodeProto) -> NodeProto | None:
        readers = self.readers.get(conv.output[0], [])
        alone = len(readers) == 1 and conv.output[0] not in self.outputs
        return readers[0] if alone and readers[0].input[0] == conv.output[0] else None

    def groups(self, calibration: Calibration) -> Iterator[_Group]:
        """Yield a group for every Conv whose channels can be scaled without a change of the output."""
        highs = calibration.highs
        for conv in self.convolutions():
            activation = self._scaling(conv)
            if activation is not None and activation.output[0] in highs and all(map(self._owned, conv.input[1:])):
                signed = activation.op_type in _SIGNED
                made = [conv.output[0], activation.output[0]] if signed else [activation.output[0]]
                scale = _common_range(made, calibration) if signed else coarse(highs[made[0]])
                scale = np.maximum(scale, _MIN_CHANNEL_RANGE * scale.max())
                scale = np.where(scale == 0, 1, scale)
                group = _Group(maker=conv, scale=scale, tensors=[(made[-1], 0)], signed=signed)
                if all(self._passes(name, at, group, highs) for name, at in group.tensors) and group.readers:
                    yield group

    def _passes(self, name: str, at: int, group: _Group, highs: Mapping[str, NDArray[np.float32]]) -> bool:
        """Add a tensor's readers to its group; False if one of them does not let a scale through."""
        for node in self.readers.get(name, []):
            inputs = list(node.input)
            place = inputs.index(name)
            if inputs.count(name) > 1:
                return False
            if node.op_type == "Conv" and place == 0 and _attribute(node, "group", 1) == 1 and self._owned(inputs[1]):
                group.readers.append((node, at))
                continue
            if node.op_type == "Concat" and _attribute(node, "axis", 0) == 1 and set(inputs) <= highs.keys():
                group.tensors.append((node.output[0], at + sum(len(highs[each]) for each in inputs[:place])))
            elif place == 0 and (node.op_type == "MaxPool" or (node.op_type == "Resize" and not _invents(node))):
                group.tensors.append((node.output[0], at))
            else:
                return False
            if node.output[0] not in highs:
                return False
        return name not in self.outputs


def _common_range(names: list[str], calibration: Calibration) -> NDArray[np.float64]:
    """Return for each channel the geometric mean of its ranges in tensors of equally many channels.

    An activation that makes negative values small has a large range before it and a small one after it, and both are
    stored in steps.
    """
    ranges = [np.maximum(calibration.highs[name], -calibration.lows[name]).astype(np.float64) for name in names]
    return coarse(np.exp(np.mean(np.log(np.maximum(ranges, np.finfo(np.float32).tiny)), axis=0)))


def _invents(resize: NodeProto) -> bool:
    """Tell whether a Resize fills in a constant outside the image, which would have to be scaled too."""
    return bool(_attribute(resize, "coordinate_transformation_mode", b"") == b"tf_crop_and_resize")


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def coarse(values: NDArray[Any]) -> NDArray[np.float64]:
    """Round up to eight significant bits: the last bits of a sum differ between CPUs, and the file must not."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    return np.asarray(np.ldexp(np.ceil(mantissa * 256) / 256, exponent))


def equalize(model: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Scale every channel that can be scaled to 0 to 1; the graph computes the same up to float32 rounding.

    The tensors of ``quantize`` stand for those of the result, name by name.
    """
    scaled = copy.deepcopy(model)
    graph = ConvGraph(scaled.graph)
    for group in graph.groups(calibration):
        for name in group.maker.input[1:]:
            _rescale(graph.weights[name], 1 / group.scale, axis=0, offset=0)
        for reader, offset in group.readers:
            _rescale(graph.weights[reader.input[1]], group.scale, axis=1, offset=offset)
    return scaled


def _rescale(weight: TensorProto, scale: NDArray[np.float64], *, axis: int, offset: int) -> None:
    values = np.moveaxis(numpy_helper.to_array(weight).astype(np.float64), axis, -1)
    values[..., offset : offset + len(scale)] *= scale
    weight.CopyFrom(numpy_helper.from_array(np.moveaxis(values, -1, axis).astype(np.float32), weight.name))


def equalized_ranges(graph: ConvGraph, calibration: Calibration) -> dict[str, tuple[np.float32, np.float32]]:
    """Return the lowest and the highest value of every tensor of the equalized graph."""
    lows = {name: values.copy() for name, values in calibration.lows.items()}
    highs = {name: values.copy() for name, values in calibration.highs.items()}
    for group in graph.groups(calibration):
        tensors = [*group.tensors, (group.maker.output[0], 0)] if group.signed else group.tensors
        for tensor, at in tensors:
            channels = slice(at, at + len(group.scale))
            if group.signed:
                lows[tensor][channels] /= group.scale
                highs[tensor][channels] /= group.scale
            else:
                lows[tensor][channels], highs[tensor][channels] = 0, 1
    least = {name: -coarse(np.maximum(-low, 0)).max() for name, low in lows.items()}
    return {name: (np.float32(least[name]), np.float32(coarse(np.maximum(highs[name], 0)).max())) for name in highs}
