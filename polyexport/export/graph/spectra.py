"""Inverse Fourier transforms to real values in a traced graph, written out as transforms of whole spectra.

PyTorch's exporter writes ``torch.fft.irfftn`` with a one-sided inverse DFT. ONNX's inference of shapes takes the length
of its result for that of the half spectrum, and then ONNX Runtime fails on a buffer that is too small.
"""

import numpy as np
import onnx
from onnx import NodeProto

from polyexport.export.graph.batch_axis import Facts, attribute
from polyexport.export.graph.writer import GraphWriter

__all__ = ["write_out_real_inverses"]


def write_out_real_inverses(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every one-sided inverse DFT by an inverse DFT of the whole spectrum; the input is left alone.

    The result is complex, and its real part is the result of the node, which the exporter takes out of it.

    Args:
        model: Graph of opset 20 or later, as ``torch.onnx.export`` wrote it: the axis is constant, and the length of
            the result is given.
    """
    graph = model.graph
    if not any(_is_real_inverse(node) for node in graph.node):
        return model
    facts = Facts.of(graph)
    writer = GraphWriter.of(graph)
    for node in graph.node:
        if _is_real_inverse(node):
            _write_out(writer, node, facts)
        else:
            writer.nodes.append(node)
    changed = writer.applied_to(model)
    del changed.graph.value_info[:]  # has the wrong lengths of what the exporter made of the transforms
    return onnx.shape_inference.infer_shapes(changed)


def _is_real_inverse(node: NodeProto) -> bool:
    return node.op_type == "DFT" and bool(attribute(node, "inverse", 0)) and bool(attribute(node, "onesided", 0))


def _write_out(writer: GraphWriter, node: NodeProto, facts: Facts) -> None:
    """Append the negative frequencies: the conjugates of the positive ones, in reverse."""
    half, length, axis_name = node.input
    (axis,) = facts.values(axis_name)
    output, one, two = node.output[0], writer.vector([1]), writer.vector([2])
    length = writer.reshape(length, [1], output=f"{output}_length")
    start = writer.add("Div", [writer.add("Sub", [length, one], f"{output}_last"), two], f"{output}_start")
    kept = writer.add("Add", [writer.add("Div", [length, two], f"{output}_half"), one], f"{output}_kept")
    zero, axes, back = writer.vector([0]), writer.vector([int(axis)]), writer.vector([-1])
    half = writer.add("Slice", [half, zero, kept, axes], f"{output}_positive")
    mirrored = writer.add("Slice", [half, start, zero, axes, back], f"{output}_mirrored")
    signs = writer.initializer(np.array([1, -1], np.float32), f"{output}_signs")
    negative = writer.add("Mul", [mirrored, signs], f"{output}_negative")
    whole = writer.add("Concat", [half, negative], f"{output}_spectrum", axis=int(axis))
    writer.add("DFT", [whole, "", axis_name], output, exact=True, inverse=1, onesided=0)
