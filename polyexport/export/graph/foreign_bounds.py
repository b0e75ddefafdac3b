"""Bounds of the values of a foreign graph's image and result, as its nodes tell them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

__all__ = ["output_bounds", "takes_levels"]

Bounds = tuple[float, float]

_BOUNDED: Mapping[str, Bounds] = {
    "Tanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
}
_KEEPING = frozenset((
    "Cast", "DepthToSpace", "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "QuantizeLinear",
    "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze",
))  # fmt: skip
"""Operators whose results lie within the bounds of their first input."""

_LEVELS: Bounds = (0.0, 255.0)
_LARGE = 1.5
"""An image in 0..1 or -1..1 is neither divided by more nor shifted by more."""

_MOST_NODES = 64  # on the way


def output_bounds(model: ModelProto, output: str) -> Bounds | None:
    """Return the values that an output cannot leave, whatever the image; None if that is not known."""
    graph = model.graph
    for value in graph.output:
        if value.name == output and value.type.tensor_type.elem_type == TensorProto.UINT8:
            return _LEVELS
    makers = {name: node for node in graph.node for name in node.output}
    constants = _constants(graph)
    scale, offset = 1.0, 0.0  # from the bounds of the tensor that was reached to those of the output
    name = output
    for _ in range(_MOST_NODES):
        node = makers.get(name)
        if node is None or not node.input:
            return None
        bounds = _BOUNDED.get(node.op_type) or (_clip(node, constants) if node.op_type == "Clip" else None)
        if bounds is not None:
            low, high = sorted((bounds[0] * scale + offset, bounds[1] * scale + offset))
            return (low, high) if low < high else None
        if node.op_type in _KEEPING:
            name = node.input[0]
            continue
        found = _scalar(node, constants)
        if found is None:
            return None
        name, number, first = found
        match node.op_type:
            case "Mul":
                scale *= number
            case "Div" if first:
                scale /= number
            case "Add":
                offset += number * scale
            case "Sub" if first:
                offset -= number * scale
            case _:
                return None
    return None


def takes_levels(model: ModelProto, image: str) -> bool:
    """Tell whether an input is divided by, or shifted by, so much at once that it must be an image in 0..255."""
    graph = model.graph
    constants = _constants(graph)
    names = {image}
    for node in graph.node:
        if not names.intersection(node.input[:1]):
            continue
        if node.op_type in _KEEPING:
            names.update(node.output)
            continue
        found = _scalar(node, constants, largest=True)
        if found is not None and found[2]:
            _, number, _ = found
            size = 1 / abs(number) if node.op_type == "Mul" and number else abs(number)
            return node.op_type in ("Mul", "Div", "Sub", "Add") and size > 8 * _LARGE
    return False


def _constants(graph: GraphProto) -> dict[str, NDArray[np.generic]]:
    found = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], each.t) for each in node.attribute if each.name == "value")
    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in found.items()
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE) and np.prod(tensor.dims) <= 4
    }


def _clip(node: NodeProto, constants: Mapping[str, NDArray[np.generic]]) -> Bounds | None:
    ends = [each.f for name in ("min", "max") for each in node.attribute if each.name == name]
    if not ends and len(node.input) == 3 and all(name in constants for name in node.input[1:]):
        ends = [float(constants[name].ravel()[0]) for name in node.input[1:]]
    return (ends[0], ends[1]) if len(ends) == 2 and ends[0] < ends[1] else None


def _scalar(
    node: NodeProto, constants: Mapping[str, NDArray[np.generic]], *, largest: bool = False
) -> tuple[str, float, bool] | None:
    """Return what a node with a constant operand reads, the constant, and whether the constant comes second.

    Args:
        node: A node.
        constants: Small constants of its graph.
        largest: Take the largest value of a constant of several, which is None otherwise.
    """
    if len(node.input) != 2:
        return None
    for place, name in enumerate(node.input):
        values = constants.get(name)
        if values is not None and values.size and (largest or values.size == 1):
            number = float(values.ravel()[np.argmax(np.abs(values))])
            return node.input[1 - place], number, place == 1
    return None
