"""Check whether a node of a graph treats the samples of a batch, axis 0, one by one.

The answer is yes only for the operators and arguments that are listed in this module.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["EXTENTS_INPUT", "POINTWISE", "Facts", "attribute", "keeps_batch"]

POINTWISE = frozenset(
    """Abs Add And Cast Ceil Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu
    Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Tanh ThresholdedRelu Where Xor""".split()  # noqa: SIM905
)
"""Operators whose output values depend only on the input values at the same, possibly broadcast, position."""

EXTENTS_INPUT = {"Expand": 1, "Reshape": 1, "Resize": 3}
"""Operators with an input that names the extents of their output, batch first, and the index of that input."""

# Axis 0 of the first input is the batch, by definition.
_BY_DEFINITION = frozenset(
    """AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalMaxPool GroupNormalization
    InstanceNormalization LRN LpPool MaxPool SpaceToDepth""".split()  # noqa: SIM905
)
# These work along the axis in an attribute, here with its default.
_AXIS = {
    "ArgMax": 0, "ArgMin": 0, "Concat": 0, "DequantizeLinear": 1, "Hardmax": -1, "LayerNormalization": -1,
    "LogSoftmax": -1, "LpNormalization": -1, "QuantizeLinear": 1, "Softmax": -1, "Split": 0,
}  # fmt: skip
# These work along the axes in their second input.
_AXES = frozenset(
    """ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Squeeze Unsqueeze""".split()  # noqa: SIM905
)
# Operators with more than one input of data; of the others only the first may have a batch.
_DATA_INPUTS = {"Gather": 2, "MatMul": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Shapes and constant values of a graph's tensors that are known before it runs."""

    shapes: dict[str, tuple[int | str | None, ...]]
    """Shape of each tensor of known rank: a number, the name of a dynamic extent, or None for each axis."""

    constants: dict[str, TensorProto]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> "Facts":
        """Read a graph whose shapes have been inferred."""
        constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and attribute(node, "value", None) is not None:
                constants[node.output[0]] = attribute(node, "value", None)
        shapes: dict[str, tuple[int | str | None, ...]] = {
            value.name: tuple(
                extent.dim_value if extent.HasField("dim_value") else extent.dim_param or None
                for extent in value.type.tensor_type.shape.dim
            )
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        return cls(shapes=shapes | {name: tuple(value.dims) for name, value in constants.items()}, constants=constants)

    def values(self, name: str) -> list[Any]:
        """Return the flattened values of a constant; an empty list for any other tensor."""
        return np.ravel(numpy_helper.to_array(self.constants[name])).tolist() if name in self.constants else []


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute as a Python object, or ``default``."""
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def keeps_batch(node: NodeProto, facts: Facts, batched: Sequence[bool]) -> bool:
    """Whether every sample of the outputs depends on the same sample of the batched inputs alone.

    Args:
        node: Node with an operator of ONNX.
        facts: Shapes and constants of the node's graph.
        batched: For each input, whether its axis 0 is the batch. At least one is.
    """
    if any(name not in facts.shapes for name in (*filter(None, node.input), node.output[0])):
        return False
    shapes = [facts.shapes[name] if name else () for name in node.input]
    op, output = node.op_type, facts.shapes[node.output[0]]
    if op in POINTWISE:
        pairs = zip(shapes, batched, strict=True)
        return all(len(one) == len(output) if has else len(one) < len(output) or one[0] == 1 for one, has in pairs)
    if any(batched[len(shapes) if op == "Concat" else _DATA_INPUTS.get(op, 1) :]):
        return False
    if op in _BY_DEFINITION:
        return not attribute(node, "training_mode", 0)
    if op in _AXIS:
        whole = op.endswith("zeLinear") and shapes[1] in ((), (1,))
        complete = all(batched) or op != "Concat"
        return complete and (whole or _spared([attribute(node, "axis", _AXIS[op])], len(shapes[0])))
    return _keeps_by_arguments(node, facts, batched)


def _keeps_by_arguments(node: NodeProto, facts: Facts, batched: Sequence[bool]) -> bool:
    """Check the operators that need a rule of their own; unknown operators do not keep the batch."""
    op, before, after = node.op_type, facts.shapes[node.input[0]], facts.shapes[node.output[0]]
    rank = len(before)
    arguments = [facts.values(name) for name in node.input[1:]]  # where they are constants
    match op:
        case _ if op in _AXES:
            axes = arguments[0] if arguments else []
            return bool(axes) and _spared(axes, len(after) if op == "Unsqueeze" else rank)
        case "Expand":
            return rank == len(after) and facts.shapes[node.input[1]] == (rank,)
        case "Flatten":
            return attribute(node, "axis", 1) in (1, 1 - rank)
        case "Gather":  # rows of a table, or parts of each sample
            by_row = not _spared([attribute(node, "axis", 0)], rank)
            return list(batched) == [not by_row, by_row]
        case "Gemm":
            return not attribute(node, "transA", 0)
        case "MatMul":
            other = len(facts.shapes[node.input[1]])
            if all(batched):
                return rank == other > 2
            return rank > 1 and other < 3 if batched[0] else rank < 3 and other > 2
        case "Pad":
            pads = arguments[0]
            axes = arguments[2] if node.input[3:] and node.input[3] else list(range(rank))
            padded = [axis for axis, low, high in zip(axes, pads, pads[len(axes) :], strict=False) if low or high]
            return bool(axes) and len(pads) == 2 * len(axes) and _spared(padded, rank)
        case "Reshape":
            return _reshapes_samples(node, before, after, arguments[0])
        case "Resize":  # with `sizes`, the first one is the batch
            axes = attribute(node, "axes", None)
            return _spared(axes, rank) if axes else not node.input[2] or arguments[1][:1] == [1]
        case "Slice":
            axes = arguments[2] if node.input[3:] and node.input[3] else [0]
            return bool(axes) and _spared(axes, rank)
        case "Tile":
            return arguments[0][:1] == [1]
        case "Transpose":
            return bool(attribute(node, "perm", [rank - 1])[0] == 0)
    return False


def _reshapes_samples(
    node: NodeProto, before: Sequence[int | str | None], after: Sequence[int | str | None], target: list[int]
) -> bool:
    """Check whether axis 0 is the same before and after a Reshape: inferred from the rest, copied, or of equal name."""
    if attribute(node, "allowzero", 0) and 0 in target:
        return False
    samples = [[extent for extent in shape[1:] if isinstance(extent, int)] for shape in (before, after)]
    static = len(samples[0]) == len(before) - 1 and len(samples[1]) == len(after) - 1
    if target[:1] == [-1] and static:
        return math.prod(samples[0]) == math.prod(samples[1])
    return target[:1] == [0] or (before[0] is not None and before[0] == after[0])


def _spared(axes: Iterable[int], rank: int) -> bool:
    return not {0, -rank} & set(axes)
