"""Dependence of a graph's output on regions of its images, by the structure of the graph and not by its weights.

Every tensor gets a mask that says which of its elements could change if the marked pixels of the images changed. Nodes
that compute are followed by what they read: a convolution reads its window, a normalization or an attention everything
that it takes a mean or a sum over. Nodes that only move values are applied to the masks themselves, so that windows,
shifts and shuffles of pixels are followed element by element. What an unknown operator reads is not known, and its
output counts as dependent on all of its input.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from polyexport.export.graph.windows import Mask, any_along, everything, is_everything, merged, resized_mask, windowed

__all__ = ["Dependence", "UnfollowedError", "cyclic_shifts", "follow"]

_ELEMENTWISE = frozenset(
    """Abs Acos Acosh Add And Asin Asinh Atan Atanh BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr
    BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout Elu Equal Erf Exp Floor Gelu Greater
    GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul
    Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
    Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor""".split()  # noqa: SIM905 - a list of words is easier to read
)
_MOVES = frozenset(
    """Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Reshape Slice SpaceToDepth Split Squeeze Tile
    Transpose Unsqueeze""".split()  # noqa: SIM905
)
_REDUCTIONS = frozenset(
    """ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare""".split()  # noqa: SIM905
)
_ALONG_ONE_AXIS = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "LpNormalization": -1, "CumSum": 0}
"""Operators that read all of one axis, and the default of that axis."""

_WINDOWS = frozenset("Conv ConvTranspose MaxPool AveragePool LpPool".split())  # noqa: SIM905

_MAX_NAMED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependence:
    """Dependence of a graph's output on marked pixels."""

    output: Mask
    """True where a value of the output could change, in the shape of the output."""

    mixing: tuple[str, ...]
    """Nodes that by what they do made everything depend on the marked pixels, such as a mean over the image,
    ``Operator name`` each; the first eight."""

    peak_bytes: int
    """Size of all tensors that the graph holds at a time, bytes, at its peak: what a whole image needs at least."""


def follow(
    model: onnx.ModelProto, output: str, marks: Mapping[str, Mask], others: Mapping[str, tuple[int, ...]]
) -> Dependence:
    """Find out which values of a graph's output could change if marked pixels did.

    Args:
        model: a graph without functions of its own.
        output: name of the output.
        marks: for each image that the graph takes its name, and True for the marked pixels, in the input's shape.
        others: shape of every other input, none of which is marked.

    Returns:
        The dependence of the output. It may name too many values, never too few.

    Raises:
        UnfollowedError: a node makes its output in a shape that nothing tells.
    """
    run = _Run(model, output, marks, others)
    for node in model.graph.node:
        run.take(node)
    return Dependence(
        output=run.masks[output], mixing=tuple(dict.fromkeys(run.mixing))[:_MAX_NAMED], peak_bytes=run.peak_bytes
    )


class UnfollowedError(Exception):
    """A node whose output has a shape that nothing tells."""

    def __init__(self, node: str) -> None:
        super().__init__(f"{node} cannot be followed")
        self.node = node
        """Operator and name of the node."""


class _Run:
    """One walk over a graph. A tensor is known, where it does not depend on an input, or has a mask."""

    def __init__(
        self, model: onnx.ModelProto, output: str, marks: Mapping[str, Mask], others: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.masks: dict[str, Mask] = dict(marks)
        self.mixing: list[str] = []
        self.peak_bytes = 0
        self._opsets = model.opset_import
        self._known: dict[str, NDArray[Any]] = {
            each.name: numpy_helper.to_array(each) for each in model.graph.initializer
        }
        self._from_shapes: set[str] = set()
        for name, shape in others.items():
            self.masks[name] = np.broadcast_to(np.False_, shape)
        self._uses = Counter(name for node in model.graph.node for name in set(node.input))
        self._uses[output] += 1
        self._live_bytes = sum(map(_bytes, self.masks.values()))

    def take(self, node: onnx.NodeProto) -> None:
        given = [name for name in node.input if name]
        if any(name in self.masks for name in given):
            if node.op_type in ("Shape", "Size"):
                self._take_shape(node)
            else:
                self._take_data(node)
        else:
            self._take_known(node)
        for name in set(given):
            self._uses[name] -= 1
            if not self._uses[name] and name in self.masks:
                self._live_bytes -= _bytes(self.masks.pop(name))

    def _take_known(self, node: onnx.NodeProto) -> None:
        feeds = {name: self._known[name] for name in node.input if name}
        for name, value in zip(node.output, self._evaluated(node, feeds), strict=True):
            self._known[name] = value
            if self._from_shapes.intersection(node.input):
                self._from_shapes.add(name)

    def _take_shape(self, node: onnx.NodeProto) -> None:
        shape = self.masks[node.input[0]].shape
        start, end = _attribute(node, "start", 0), _attribute(node, "end", len(shape))
        self._known[node.output[0]] = np.array(
            shape[start:end] if node.op_type == "Shape" else math.prod(shape), dtype=np.int64
        )
        self._from_shapes.add(node.output[0])

    def _take_data(self, node: onnx.NodeProto) -> None:
        before = [self.masks[name] for name in node.input if name in self.masks]
        try:
            after = self._spread(node)
        except Exception as error:  # whatever a strange node makes of a mask, it is not followed
            shapes = self._shapes_of(node)
            if shapes is None:
                raise UnfollowedError(_named(node)) from error
            after = [everything(shape) for shape in shapes]
        marked = any(mask.any() for mask in before)
        after = [mask if marked else np.broadcast_to(np.False_, mask.shape) for mask in after]
        sized = bool(self._from_shapes.intersection(node.input)) and node.op_type in _ELEMENTWISE
        spreads = is_everything(after[0]) and not any(is_everything(mask) for mask in before)
        if spreads and (sized or _mixes(node, len(before))):
            self.mixing.append(_named(node))
        for name, mask in zip(node.output, after, strict=False):
            if name:
                self.masks[name] = mask
                self._live_bytes += _bytes(mask)
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)

    def _spread(self, node: onnx.NodeProto) -> list[Mask]:
        """Return the masks of a node's outputs."""
        kind = node.op_type if node.domain in ("", "ai.onnx") else ""
        masks = [self.masks.get(name) for name in node.input]
        own = [mask for mask in masks if mask is not None]
        if kind in _ELEMENTWISE:
            shape = np.broadcast_shapes(*(self._shape(name) for name in node.input if name))
            if kind == "BatchNormalization":
                shape = own[0].shape
            # A number made of the image's size, or of places in it, is another one in a tile.
            if self._from_shapes.intersection(node.input) and kind not in ("Cast", "CastLike", "Identity"):
                return [everything(shape)]
            return [merged(shape, own)] * len(node.output)
        if kind in _MOVES and all(name in self._known for name in node.input[1:] if name and kind != "Concat"):
            return self._moved(node)
        if kind == "Pad":
            return self._moved(node, constant=False)
        if kind in _WINDOWS:
            return [windowed(node, own[0], self._known.get(node.input[1]) if len(node.input) > 1 else None)]
        if kind in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
            return [any_along(own[0], range(2, own[0].ndim))]
        if kind in _REDUCTIONS or kind in ("ArgMax", "ArgMin"):
            return [self._reduced(node, own[0])]
        if kind in _ALONG_ONE_AXIS:
            axis = _attribute(node, "axis", _ALONG_ONE_AXIS[kind])
            if kind == "CumSum":
                axis = int(self._known[node.input[1]].ravel()[0])
            return [np.broadcast_to(any_along(own[0], [axis]), own[0].shape)]
        if kind in ("InstanceNormalization", "GroupNormalization", "LayerNormalization", "MeanVarianceNormalization"):
            first = {"LayerNormalization": _attribute(node, "axis", -1), "InstanceNormalization": 2}.get(kind, 1)
            axes = range(first % own[0].ndim, own[0].ndim)
            return [np.broadcast_to(any_along(own[0], axes), own[0].shape)]
        if kind == "LRN":
            return [np.broadcast_to(any_along(own[0], [1]), own[0].shape)]
        if kind in ("MatMul", "Gemm"):
            return [self._product(node)]
        if kind == "Resize":
            return [resized_mask(node, own[0], [self._known.get(name) for name in node.input[1:]])]
        shapes = self._shapes_of(node)
        if shapes is None:
            raise ValueError("an operator whose output has no known shape")
        return [everything(shape) for shape in shapes]

    def _moved(self, node: onnx.NodeProto, *, constant: bool = True) -> list[Mask]:
        """Apply a node that moves values to its masks; padding with a constant is not marked."""
        names = [name for name in node.input if name]
        moved = names if node.op_type == "Concat" else names[:1]
        if self._from_shapes.intersection(moved):
            shapes = [self._shape(name) for name in moved]
            axis = _attribute(node, "axis", 0)
            shape = list(shapes[0])
            shape[axis] = sum(each[axis] for each in shapes)
            return [everything(tuple(shape))]
        feeds: dict[str, NDArray[Any]] = {}
        for name in names:
            mask = self.masks.get(name)
            if mask is None and name in moved:
                mask = np.zeros(self._known[name].shape, np.bool_)
            feeds[name] = self._known[name] if mask is None else mask.view(np.uint8)
        if not constant and len(node.input) > 2 and node.input[2]:
            feeds[node.input[2]] = np.zeros((), np.uint8)
        if len(moved) == 1 and is_everything(self.masks[moved[0]]):
            feeds[moved[0]] = np.ones(self.masks[moved[0]].shape, np.uint8)
        return [np.asarray(value).astype(np.bool_, copy=False) for value in self._evaluated(node, feeds)]

    def _reduced(self, node: onnx.NodeProto, mask: Mask) -> Mask:
        axes = _attribute(node, "axes", None)
        if node.op_type in ("ArgMax", "ArgMin"):
            axes = [_attribute(node, "axis", 0)]
        elif len(node.input) > 1 and node.input[1]:
            axes = self._known[node.input[1]].ravel().tolist()
        if not axes:
            if _attribute(node, "noop_with_empty_axes", 0):
                return mask
            axes = list(range(mask.ndim))
        reduced = any_along(mask, axes)
        if _attribute(node, "keepdims", 1):
            return reduced
        return np.squeeze(reduced, axis=tuple(axis % mask.ndim for axis in axes))

    def _product(self, node: onnx.NodeProto) -> Mask:
        """Return the mask of a matrix product: its row of the left factor and its column of the right one."""
        left, right = (self.masks.get(name) for name in node.input[:2])
        shapes = [list(self._shape(name)) for name in node.input[:2]]
        if node.op_type == "Gemm":
            for number, key in enumerate(("transA", "transB")):
                if _attribute(node, key, 0):
                    shapes[number].reverse()
                    if number:
                        right = None if right is None else right.T
                    else:
                        left = None if left is None else left.T
        if min(map(len, shapes)) < 2:
            raise ValueError("a product with a vector")
        shape = (*np.broadcast_shapes(*(tuple(each[:-2]) for each in shapes)), shapes[0][-2], shapes[1][-1])
        parts = [] if left is None else [any_along(left, [-1])]
        parts += [] if right is None else [any_along(right, [-2])]
        return merged(shape, parts)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.masks[name].shape if name in self.masks else self._known[name].shape

    def _shapes_of(self, node: onnx.NodeProto) -> list[tuple[int, ...]] | None:
        """Return the shapes of a node's outputs as ONNX infers them, or None if it does not."""
        inputs = []
        for name in dict.fromkeys(name for name in node.input if name):
            kind = self._known[name].dtype if name in self._known else np.dtype(np.float32)
            element = onnx.helper.np_dtype_to_tensor_dtype(kind)
            inputs.append(onnx.helper.make_tensor_value_info(name, element, self._shape(name)))
        known = [numpy_helper.from_array(self._known[name], name) for name in set(node.input) & self._known.keys()]
        graph = onnx.helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=node.output[0])], known)
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        except Exception:  # noqa: BLE001 - what it raises is not documented
            return None
        shapes = []
        for name in node.output:
            found = next((each for each in (*inferred.output, *inferred.value_info) if each.name == name), None)
            if found is None or not found.type.tensor_type.HasField("shape"):
                return None
            extents = [dim.dim_value for dim in found.type.tensor_type.shape.dim]
            if 0 in extents:
                return None
            shapes.append(tuple(extents))
        return shapes

    def _evaluated(self, node: onnx.NodeProto, feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        from onnx.reference import ReferenceEvaluator

        types = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in feeds.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        graph = onnx.helper.make_graph([node], "one", types, outputs)
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        run: Callable[..., Any] = ReferenceEvaluator(model).run
        return [np.asarray(value) for value in run(None, dict(feeds))]


def cyclic_shifts(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the nodes that shift values from one end of a tensor to the other, like ``torch.roll``; the first eight.

    Such a node puts slices of one tensor together in another order.
    """
    sliced = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Slice"}
    shifts = [
        _named(node)
        for node in model.graph.node
        if node.op_type == "Concat" and len({sliced.get(name) for name in node.input} - {None}) == 1 < len(node.input)
    ]
    return tuple(shifts[:_MAX_NAMED])


def _mixes(node: onnx.NodeProto, marked_inputs: int) -> bool:
    """Return whether a node by itself can make all of its output depend on one place of its input."""
    if node.domain not in ("", "ai.onnx"):
        return True
    local = node.op_type in _ELEMENTWISE | _MOVES | _WINDOWS | {"Pad"}
    return not local and (node.op_type not in ("MatMul", "Gemm") or marked_inputs > 1)


def _named(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name}".strip()


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _bytes(mask: Mask) -> int:
    """Return the size of a tensor of float32, the type of nearly all that a graph computes."""
    return 4 * mask.size
