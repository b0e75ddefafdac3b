"""A foreign float16 graph in float32: the same weights, each a number that float32 has too, without the roundings.

ONNX Runtime's CPU provider computes float16 in float32 anyway, with roundings in places of its own choice, which no
other graph can have in the same places. In float32 the graph can be proven, converted to float16 again, or quantized.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper

__all__ = ["holds_float16", "widened"]

_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")  # of Cast, RandomNormal, QuantizeLinear and others


def holds_float16(model: ModelProto) -> bool:
    """Tell whether an input, a constant or a conversion of a graph is float16."""
    graph = model.graph
    return (
        any(each.data_type == TensorProto.FLOAT16 for each in _tensors(model))
        or any(each.type.tensor_type.elem_type == TensorProto.FLOAT16 for each in (*graph.input, *graph.output))
        or any(_is_half(attribute) for node in graph.node for attribute in node.attribute)
    )


def widened(model: ModelProto) -> ModelProto:
    """Return a graph with float32 in the place of float16, its inputs and outputs too."""
    wide = ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    for tensor in _tensors(wide):
        if tensor.data_type == TensorProto.FLOAT16:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name))
    for node in graph.node:
        for attribute in node.attribute:
            if _is_half(attribute):
                attribute.i = TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    return wide


def _is_half(attribute: onnx.AttributeProto) -> bool:
    return (
        attribute.type == AttributeProto.INT
        and attribute.name in _TYPE_ATTRIBUTES
        and attribute.i == TensorProto.FLOAT16
    )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
