"""Normalizations and means of a traced graph, written out in operations that are precise on flat pictures.

ONNX Runtime computes GroupNormalization as the mean of squares minus the square of the mean, and the means of
InstanceNormalization and ReduceMean as one running sum in float32. On nearly flat pictures, such as white drawings with
thin lines, a small standard deviation multiplies the error of the mean: outputs are off by up to 1e-2, or NaN, where
PyTorch is off by 1e-5. Three things mend that; ``docs/decisions/0033-norms-are-written-out.md`` has the measurements.
A mean is taken over one axis after the other, so that no sum has more terms than a row or a column has pixels. What
is left of the mean after its subtraction corrects it. The variance is the mean of squares of differences.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto

from polyexport.export.graph.batch_axis import Facts, attribute
from polyexport.export.graph.writer import GraphWriter

__all__ = ["write_out_norms"]

_DEFAULT_EPSILON = 1e-5  # of all three operators in ONNX


def write_out_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the normalizations of an fp32 graph, and its means and sums over several axes; the input is left alone.

    LayerNormalization over the last axis alone stays as it is: its sums are short, and as precise as PyTorch's. The
    tensors keep their names; a mean with axes that are not constant stays as it is, too.

    Args:
        model: Graph whose tensors have shapes in ``value_info``; extents may be dynamic, ranks and channels may not.
    """
    graph = model.graph
    facts = Facts.of(graph)
    writer = _NormWriter.of(graph)
    for node in graph.node:
        if not _write_out(writer, node, facts):
            writer.nodes.append(node)
    return writer.applied_to(model)


def _write_out(writer: "_NormWriter", node: NodeProto, facts: Facts) -> bool:
    """Write the operations that a node stands for; False if the node stays."""
    before = facts.shapes.get(node.input[0]) if node.input else None
    if before is None:
        return False
    rank = len(before)
    match node.op_type:
        case "GroupNormalization" | "InstanceNormalization":
            (channels,) = facts.shapes.get(node.input[1], (None,))
            if not isinstance(channels, int):
                return False
            writer.channel_norm(node, rank, channels, attribute(node, "num_groups", channels))
        case "LayerNormalization":
            first = attribute(node, "axis", -1) % rank
            if first == rank - 1 or any(node.output[1:]):
                return False
            writer.layer_norm(node, rank, first)
        case "GlobalAveragePool":
            writer.mean(node.input[0], rank, range(2, rank), output=node.output[0], exact=True)
        case "ReduceMean" | "ReduceSum":
            axes = sorted({axis % rank for axis in facts.values(node.input[1])}) if len(node.input) > 1 else []
            if len(axes) < 2 or axes[-1] - axes[0] >= len(axes):
                return False  # a single axis, or axes that are not side by side
            keepdims = bool(attribute(node, "keepdims", 1))
            output, op = node.output[0], node.op_type
            writer.mean(node.input[0], rank, axes, output=output, keepdims=keepdims, op=op, exact=True)
        case _:
            return False
    return True


class _NormWriter(GraphWriter):
    """Writer of the operations that stand for a normalization or a mean."""

    def channel_norm(self, node: NodeProto, rank: int, channels: int, groups: int) -> None:
        """Write the normalization of groups of channels of a tensor [B, C, ...].

        Every channel is shifted by its own mean. The mean and the variance of a group follow exactly from those of its
        channels, in tensors of one value a channel.
        """
        data, output, size = node.input[0], node.output[0], channels // groups
        axes, ones = range(2, rank), [1] * (rank - 2)
        column, grouped = [0, channels, *ones], [0, groups, size, 1]
        shift = self.mean(data, rank, axes, output=f"{output}_mean")
        shifted = self.add("Sub", [data, shift], f"{output}_shifted")
        squares = self.add("Mul", [shifted, shifted], f"{output}_squares")
        rest = self.reshape(self.mean(shifted, rank, axes, output=f"{output}_rest"), grouped, output=f"{output}_rests")
        power = self.mean(squares, rank, axes, output=f"{output}_power")
        power = self.reshape(power, grouped, output=f"{output}_powers")
        offset = rest  # the mean of each channel's group, seen from the channel's shift
        if size > 1:
            means = self.reshape(shift, grouped, output=f"{output}_means")
            corrected = self.add("Add", [means, rest], f"{output}_corrected")
            group = self.add("ReduceMean", [corrected, self.vector([2])], f"{output}_group")
            offset = self.add("Sub", [group, means], f"{output}_offset")
        # mean((x - offset)^2) = mean(x^2) + offset (offset - 2 mean(x))
        twice = self.add("Add", [rest, rest], f"{output}_twice")
        product = self.add("Mul", [offset, self.add("Sub", [offset, twice], f"{output}_less")], f"{output}_product")
        variance = self.add("Add", [power, product], f"{output}_variance")
        if size > 1:
            variance = self.add("ReduceMean", [variance, self.vector([2])], f"{output}_group_variance")
        deviation = self.deviation(variance, node, output)
        if size > 1:
            deviation = self.add("Expand", [deviation, self.vector([1, 1, size, 1])], f"{output}_deviations")
        scale, bias = (self.reshape(name, [-1, *ones], output=f"{name}_column") for name in node.input[1:3])
        deviation = self.reshape(deviation, column, output=f"{output}_divisor")
        factor = self.add("Div", [scale, deviation], f"{output}_factor")
        offset = self.reshape(offset, column, output=f"{output}_column")
        addend = self.add("Sub", [bias, self.add("Mul", [offset, factor], f"{output}_moved")], f"{output}_addend")
        self.add("Add", [self.add("Mul", [shifted, factor], f"{output}_scaled"), addend], output, exact=True)

    def layer_norm(self, node: NodeProto, rank: int, first: int) -> None:
        """Write the normalization over all axes from ``first`` on."""
        data, output = node.input[0], node.output[0]
        axes = range(first, rank)
        shift = self.mean(data, rank, axes, output=f"{output}_mean")
        shifted = self.add("Sub", [data, shift], f"{output}_shifted")
        rest = self.mean(shifted, rank, axes, output=f"{output}_rest")
        centered = self.add("Sub", [shifted, rest], f"{output}_centered")
        squares = self.add("Mul", [centered, centered], f"{output}_squares")
        variance = self.mean(squares, rank, axes, output=f"{output}_variance")
        unit = self.add("Div", [centered, self.deviation(variance, node, output)], f"{output}_unit")
        if len(node.input) == 2 or not node.input[2]:
            self.add("Mul", [unit, node.input[1]], output, exact=True)
        else:
            scaled = self.add("Mul", [unit, node.input[1]], f"{output}_scaled")
            self.add("Add", [scaled, node.input[2]], output, exact=True)

    def deviation(self, variance: str, node: NodeProto, output: str) -> str:
        """Write the standard deviation that a normalization divides by."""
        value = np.array(attribute(node, "epsilon", _DEFAULT_EPSILON), np.float32)
        epsilon = self.initializer(value, f"{output}_epsilon")
        return self.add("Sqrt", [self.add("Add", [variance, epsilon], f"{output}_raised")], f"{output}_deviation")

    def mean(
        self,
        data: str,
        rank: int,
        axes: Sequence[int],
        *,
        output: str,
        keepdims: bool = True,
        op: str = "ReduceMean",
        exact: bool = False,
    ) -> str:
        """Write a mean or sum over neighboring axes, one after the other from the last on.

        A Reshape between two stages moves the next axis to the place of the last one. Without it the simplifier and
        OpenVINO merge the stages to one long sum.

        Args:
            data: Tensor to reduce.
            rank: Number of its axes.
            axes: Axes to reduce, ascending.
            output: Name of the result.
            keepdims: The reduced axes stay, with extent 1.
            op: ``ReduceMean`` or ``ReduceSum``.
            exact: The result gets this very name.
        """
        if not axes:
            return data
        last = axes[-1]
        for axis in reversed(axes[1:]):
            data = self.add(op, [data, self.vector([last])], f"{output}_stage", keepdims=1)
            turned = [1 if each == axis - 1 else -1 if each == last else 0 for each in range(rank)]
            data = self.reshape(data, turned, output=f"{output}_turned")
        reduced = self.vector([last] if keepdims else list(axes))
        return self.add(op, [data, reduced], output, exact=exact, keepdims=int(keepdims))
