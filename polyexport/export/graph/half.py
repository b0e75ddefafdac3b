"""Conversion of an fp32 graph to float16, without a Cast.

The uint8 inputs and output decide how: DequantizeLinear gives the type of its scale and QuantizeLinear takes any float,
so the whole network becomes half precision as soon as its constants are. Converting the finished graph, rather than
tracing ``module.half()``, folds the batch normalization in float32 first and keeps every tensor's name.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polyexport.errors import ModelError
from polyexport.export.graph.trace import check_graph

__all__ = ["half_graph"]

# Inputs that stay float32 in every type of the operator, by its definition in ONNX.
_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}

_LARGEST = float(np.finfo(np.float16).max)
_REMEDY = "nothing was written; export with --precision fp32"


def half_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a checked fp32 graph with uint8 images. A float32 graph input, an embedding, gets the only Cast.

    Raises:
        ModelError: A constant is too large for float16, or the graph has branches.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    kept = {
        node.input[index]
        for node in graph.node
        for index in _FLOAT32_INPUTS.get(node.op_type, ())
        if index < len(node.input)
    }
    shared = kept & {
        name
        for node in graph.node
        for index, name in enumerate(node.input)
        if index not in _FLOAT32_INPUTS.get(node.op_type, ())
    }
    shared.discard("")
    if shared:
        raise ModelError(
            f"{min(shared)} is a scale, which stays float32, and a value, which becomes float16", remedy=_REMEDY
        )
    for initializer in graph.initializer:
        if initializer.name not in kept:
            _convert(initializer)
    for node in graph.node:
        _convert_attributes(node, keep=bool(kept & set(node.output)))
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            _cast_input(graph, value.name)
    del graph.value_info[:]
    check_graph(half)
    return half


def _convert(tensor: TensorProto) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    largest = float(np.max(np.abs(values), initial=0.0))
    if not largest <= _LARGEST:
        raise ModelError(
            f"constant {tensor.name} holds {largest:.4g}, more than the {_LARGEST:.0f} of float16", remedy=_REMEDY
        )
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _convert_attributes(node: NodeProto, *, keep: bool) -> None:
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise ModelError(
                f"node {node.name} ({node.op_type}) has branches, which cannot be converted to float16", remedy=_REMEDY
            )
        if attribute.type == onnx.AttributeProto.TENSOR and not keep:
            _convert(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _cast_input(graph: onnx.GraphProto, name: str) -> None:
    inner = f"{name}_fp16"
    readers: Iterable[NodeProto] = [node for node in graph.node if name in node.input]
    for node in readers:
        node.input[:] = [inner if each == name else each for each in node.input]
    graph.node.insert(0, helper.make_node("Cast", [name], [inner], name=f"cast_{name}", to=TensorProto.FLOAT16))
