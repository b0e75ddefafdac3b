"""Search for quantized convolutions that cost more time in conversions to and from float than they save.

A quantized convolution whose neighbors compute in float turns its input into integers and its output back again. For a
narrow one that costs what it saves. Measured in a profile of the shipped `small` on two cores of a Xeon
with VNNI: from 16 to 16 channels float takes 20 ns per pixel, 8 bits 13 ns; 32 values are converted in 7 ns; from 32
to 32 it is 63 ns against 30 ns and 14 ns. At 16 nothing is gained, and the image is better in float.
"""

from collections.abc import Collection

import onnx
from onnx import NodeProto

__all__ = ["bridged"]

_NARROW_CHANNELS = 16
"""Largest number of input and output channels at which the conversions cost as much as the quantization saves."""

_PASSING = frozenset(("Relu", "MaxPool", "Resize", "Concat"))


def bridged(model: onnx.ModelProto, kept_float: Collection[str]) -> tuple[str, ...]:
    """Return the Conv nodes that stay in float, with the narrow ones between them added; names, in graph order.

    A Conv is between them if its input is made in float and a node that reads its output computes in float.
    """
    nodes = list(model.graph.node)
    makers = {name: node for node in nodes for name in node.output}
    weights = {each.name: each for each in model.graph.initializer}
    kept = set(kept_float)

    def made_in_float(name: str) -> bool:
        node = makers.get(name)
        if node is None or node.op_type == "Conv":
            return node is None or node.name in kept
        return node.op_type not in _PASSING or all(made_in_float(each) for each in node.input if each not in weights)

    def read_in_float(name: str) -> bool:
        return any(
            node.name in kept if node.op_type == "Conv" else node.op_type in _PASSING and read_in_float(node.output[0])
            for node in nodes
            if name in node.input
        )

    def narrow(node: NodeProto) -> bool:
        weight = weights.get(node.input[1])
        return weight is not None and len(weight.dims) > 1 and max(weight.dims[:2]) <= _NARROW_CHANNELS

    for node in nodes:
        candidate = node.op_type == "Conv" and node.name not in kept and narrow(node)
        if candidate and made_in_float(node.input[0]) and read_in_float(node.output[0]):
            kept.add(node.name)
    return tuple(node.name for node in nodes if node.name in kept)
