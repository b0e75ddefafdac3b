"""Rewrite of a graph for one image in one color to a graph for one image in K colors in one run.

What does not depend on the color stays at batch N and runs once per image; what does runs at batch N * K, colors
innermost. In between stand three rewrites, each of which gives the same values up to float rounding:

- A convolution over a Concat is split: conv(concat(skip, up)) = conv(skip) + conv(up). The first half runs at batch N.
- Where up is resize(b + e), e one value per channel: resize(b + e) = resize(b) + e, so that half is conv(resize(b)), at
  batch N, plus a convolution over a constant map. The latter is, at each position, the sum over those kernel taps that
  do not fall into the zero padding: a product of [N * K, C, T] and a mask [T, H * W].
- Elementwise operators broadcast over K. Any other operator gets the image's tensors repeated K times.

Tensors keep their names; at K = 1 they keep their shapes too.

Shape legend: N batch (images), K colors, C channels, H and W height and width of the tensor at hand, T kernel taps.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from polyexport.errors import ModelError, reason_of
from polyexport.export.graph.batch_axis import EXTENTS_INPUT, POINTWISE, Facts, attribute, keeps_batch
from polyexport.export.graph.writer import GraphWriter
from polyexport.model.contract import COLORED, IMAGE_INPUT

__all__ = ["COLORS_AXIS", "many_colors_graph"]

COLORS_AXIS = "colors"
"""Name of the axis after the batch that the second input and the output get."""

_REMEDY = "export without --palette: one run per color gives the same images"
_OLDEST_OPSET = 15  # Shape has start and end since then


class _Kind(Enum):
    """Kinds of tensors, by the inputs that they depend on."""

    FIXED = "weights, or extents of the image's tensors"
    EXTENT = "extents of the color's tensors: one of its values may be N * K"
    IMAGE = "the image: axis 0 has N entries"
    COLOR = "the color: axis 0 has N * K entries"


def many_colors_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite a graph for K colors a run.

    Args:
        model: ``image`` [N, ...] and one more input [N, ...] -> ``colored`` [N, ...], with dynamic N. Not changed.

    Returns:
        ``image`` [N, ...] and the other input [N, K, ...] -> ``colored`` [N, K, ...], with dynamic N and K and without
        metadata. Equal models give equal ones.

    Raises:
        ModelError: other inputs or outputs, or a step after the color that is not known to treat the samples of a
            batch one by one; the message names it.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        raise ModelError(f"the graph has opset {opset}, expected at least {_OLDEST_OPSET}", remedy=_REMEDY)
    result = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        result.graph.CopyFrom(_Rewriter.of(inferred.graph).rewrite())
        onnx.checker.check_model(result, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the graph has no form for many colors: {reason_of(error)}", remedy=_REMEDY) from error
    return result


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lifted:
    """A tensor that is resize(image + color), where color has one value per channel."""

    image: str
    color: str
    resizes: tuple[NodeProto, ...]
    """Resize nodes in the order in which they run."""


@dataclass(kw_only=True, slots=True)
class _Rewriter:
    """Rewriting of ``graph``, node by node; the graph is consumed."""

    graph: onnx.GraphProto
    facts: Facts
    writer: GraphWriter
    kinds: dict[str, _Kind] = field(default_factory=dict)
    producers: dict[str, NodeProto] = field(default_factory=dict)
    color: str = ""
    """Name of the second input."""

    counts: str = ""
    """Name of the tensor that holds N and K."""

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> "_Rewriter":
        facts = Facts.of(graph)
        taken = {*facts.shapes, *(name for node in graph.node for name in (node.name, *node.output))}
        initializers = {tensor.name: tensor for tensor in graph.initializer}
        return cls(graph=graph, facts=facts, writer=GraphWriter(initializers=initializers, taken=taken))

    def rewrite(self) -> onnx.GraphProto:
        """Return the graph for many colors."""
        graph, writer, shapes = self.graph, self.writer, self.facts.shapes
        self.color = color = self._second_input()
        flat, last = (writer.fresh(f"{name}_flat") for name in (color, COLORED))
        for node in graph.node:
            node.input[:] = [flat if name == color else name for name in node.input]
            node.output[:] = [last if name == COLORED else name for name in node.output]
        self.producers = {output: node for node in graph.node for output in node.output}
        self.kinds = dict.fromkeys(writer.initializers, _Kind.FIXED) | {IMAGE_INPUT: _Kind.IMAGE, flat: _Kind.COLOR}
        shapes |= {flat: shapes[color], last: shapes[COLORED]}
        self.counts = writer.add("Shape", [color], "batch_and_colors", start=0, end=2)
        writer.reshape(color, [-1, *(int(extent or 0) for extent in shapes[color][1:])], output=flat, exact=True)
        for node in graph.node:
            self._walk(node)
        if self.kinds[last] is not _Kind.COLOR:
            raise ModelError(f"{COLORED} does not depend on {color}", remedy=_REMEDY)
        writer.reshape(last, self.counts, writer.extents(last, 1), output=COLORED, exact=True)
        return self._result(color)

    def _second_input(self) -> str:
        names = [value.name for value in self.graph.input if value.name not in self.writer.initializers]
        outputs = [value.name for value in self.graph.output]
        if len(names) != 2 or IMAGE_INPUT not in names or outputs != [COLORED]:
            got = f"{', '.join(names)} -> {', '.join(outputs)}"
            raise ModelError(f"got {got}, expected {IMAGE_INPUT} and one more input -> {COLORED}", remedy=_REMEDY)
        color = names[1 - names.index(IMAGE_INPUT)]
        for name in (*names, COLORED):
            extents = self.facts.shapes.get(name) or (0,)
            if isinstance(extents[0], int) or (name == color and not all(isinstance(one, int) for one in extents[1:])):
                raise ModelError(f"{name} is {list(extents)}, expected one dynamic axis, the first", remedy=_REMEDY)
        return str(color)

    def _result(self, color: str) -> onnx.GraphProto:
        used = {COLORED}
        nodes: list[NodeProto] = []
        for node in reversed(self.writer.nodes):  # nodes whose outputs nothing uses are left out
            if used.intersection(node.output):
                nodes.append(node)
                used.update(node.input)
        result = onnx.GraphProto(name=self.graph.name, node=reversed(nodes))
        result.initializer.extend(tensor for name, tensor in self.writer.initializers.items() if name in used)
        result.input.extend(self.graph.input)
        result.output.extend(self.graph.output)
        for value in (*result.input, *result.output):
            if value.name in (color, COLORED):
                shape = value.type.tensor_type.shape
                first, *others = shape.dim
                colors = onnx.TensorShapeProto.Dimension(dim_param=COLORS_AXIS)
                shape.CopyFrom(onnx.TensorShapeProto(dim=[first, colors, *others]))
        return result

    def _walk(self, node: NodeProto) -> None:
        if any(one.type in (one.GRAPH, one.GRAPHS) for one in node.attribute):
            raise _refusal(node, "it has a graph of its own")
        kinds = [self.kinds[name] for name in node.input if name]
        kind = next((kind for kind in (_Kind.COLOR, _Kind.IMAGE, _Kind.EXTENT) if kind in kinds), _Kind.FIXED)
        if kind is _Kind.IMAGE and _Kind.EXTENT in kinds:
            raise _refusal(node, "it takes extents of a tensor that depends on the color")
        if node.op_type in ("Shape", "Size"):
            kind = _Kind.EXTENT if kind in (_Kind.COLOR, _Kind.EXTENT) else _Kind.FIXED
        if kind is not _Kind.COLOR:
            self.writer.nodes.append(node)
        else:
            self._check(node)
            if node.op_type in POINTWISE and _Kind.IMAGE in kinds:
                self._spread(node)
            elif node.op_type != "Conv" or not self._split(node):
                self.writer.nodes.append(self._with_colors(node))
        self.kinds |= dict.fromkeys(node.output, kind)

    def _check(self, node: NodeProto) -> None:
        batched = [self.kinds.get(name) in (_Kind.IMAGE, _Kind.COLOR) for name in node.input]
        extents = [index for index, name in enumerate(node.input) if self.kinds.get(name) is _Kind.EXTENT]
        if node.domain not in ("", "ai.onnx"):
            raise _refusal(node, "it is not an operator of ONNX")
        if any(index != EXTENTS_INPUT.get(node.op_type) for index in extents):
            raise _refusal(node, "it takes extents of a tensor that depends on the color")
        if not keeps_batch(node, self.facts, batched):
            raise _refusal(node, "it is not known to treat the samples of a batch one by one")

    def _spread(self, node: NodeProto) -> None:
        """Write an elementwise node that is broadcast over the colors: [N, K, ...] with [N, 1, ...]."""
        writer, inputs = self.writer, list(node.input)
        for index, name in enumerate(inputs):
            kind = self.kinds.get(name)
            if kind is _Kind.COLOR:
                inputs[index] = writer.reshape(name, self.counts, writer.extents(name, 1), output=f"{name}_spread")
            elif kind is _Kind.IMAGE:
                inputs[index] = self._unsqueezed(name)
        spread = writer.copy(node, inputs, "spread")
        writer.reshape(spread, [-1], writer.extents(spread, 2), output=node.output[0], exact=True)

    def _split(self, node: NodeProto) -> bool:
        """Write a convolution as a sum over parts of its input channels, if some of them do not need the color."""
        kernel = self.writer.initializers.get(node.input[1])
        constant = all(name in self.writer.initializers for name in node.input[1:])
        if kernel is None or not constant or attribute(node, "group", 1) != 1:
            return False
        source, pieces = self.producers.get(node.input[0]), node.input[:1]
        if source is not None and source.op_type == "Concat":
            if attribute(source, "axis", 1) not in (1, 1 - len(kernel.dims)):
                return False
            pieces = source.input[:]
        image: list[tuple[str, range]] = []
        color: list[tuple[str, range]] = []
        lifted: list[tuple[_Lifted, range]] = []
        stop = 0
        for name in pieces:
            width = (*self.facts.shapes.get(name, ()), None, None)[1]
            if not isinstance(width, int) or self.kinds[name] not in (_Kind.IMAGE, _Kind.COLOR):
                return False
            start, stop = stop, stop + width
            if self.kinds[name] is _Kind.IMAGE:
                image.append((name, range(start, stop)))
            elif found := self._lifted(name):
                lifted.append((found, range(start, stop)))
            else:
                color.append((name, range(start, stop)))
        if not image and not lifted:
            return False

        writer, output = self.writer, node.output[0]
        steady = [image] if image else []
        steady += [[(self._resized(one), channels)] for one, channels in lifted]
        base = self._part(node, steady[0], "image", node.input[2:])
        for part in steady[1:]:
            base = writer.add("Add", [base, self._part(node, part, "image")], f"{output}_image")
        terms = [self._part(node, color, "color")] if color else []
        terms += [self._constant_map(node, one, channels) for one, channels in lifted]
        total, extents = self._unsqueezed(base), writer.extents(base, 1)
        for term in terms:
            spread = writer.reshape(term, self.counts, extents, output=f"{term}_spread")
            total = writer.add("Add", [spread, total], f"{output}_spread")
        writer.reshape(total, [-1], extents, output=output, exact=True)
        return True

    def _part(self, node: NodeProto, part: Sequence[tuple[str, range]], suffix: str, biases: Iterable[str] = ()) -> str:
        """Write the convolution over some of its input channels."""
        names = [name for name, _ in part]
        data = (
            names[0]
            if len(names) == 1
            else self.writer.add("Concat", names, f"{node.output[0]}_{suffix}_input", axis=1)
        )
        return self.writer.copy(node, [data, self._kernel(node, [channels for _, channels in part]), *biases], suffix)

    def _kernel(self, node: NodeProto, spans: Sequence[range]) -> str:
        kernel = numpy_helper.to_array(self.writer.initializers[node.input[1]])  # [C out, C in, ...]
        channels = [channel for span in spans for channel in span]
        if len(channels) == kernel.shape[1]:
            return str(node.input[1])
        key = f"{node.input[1]}, input channels {spans}"
        if key not in self.writer.made:
            self.writer.made[key] = self.writer.initializer(kernel[:, channels], f"{node.input[1]}_part")
        return self.writer.made[key]

    def _lifted(self, name: str) -> _Lifted | None:
        resizes: list[NodeProto] = []
        node = self.producers.get(name)
        while node is not None and node.op_type == "Resize" and self._keeps_constants(node):
            resizes.insert(0, node)
            node = self.producers.get(node.input[0])
        if node is None or node.op_type != "Add":
            return None
        for image, color in (node.input, node.input[::-1]):
            over, added = self.facts.shapes.get(image, ()), self.facts.shapes.get(color, ())
            same = len(over) == len(added) > 2 and isinstance(over[1], int) and over[1] == added[1]
            if same and set(added[2:]) == {1} and self.kinds[image] is _Kind.IMAGE and self.kinds[color] is _Kind.COLOR:
                return _Lifted(image=image, color=color, resizes=tuple(resizes))
        return None

    def _keeps_constants(self, node: NodeProto) -> bool:
        """Whether a map of one value per channel stays one: the interpolation weights sum to 1 unless it is cropped."""
        before, after = ((*self.facts.shapes.get(name, ()), None, None)[1] for name in (node.input[0], node.output[0]))
        cropped = attribute(node, "coordinate_transformation_mode", b"half_pixel") == b"tf_crop_and_resize"
        fixed = all(self.kinds[name] is _Kind.FIXED for name in node.input[1:] if name)
        return fixed and not cropped and isinstance(before, int) and before == after

    def _resized(self, lifted: _Lifted) -> str:
        image = lifted.image
        for node in lifted.resizes:
            key = f"{node.output[0]} of the image"
            if key not in self.writer.made:
                self.writer.made[key] = self.writer.copy(node, [image, *node.input[1:]], "image")
            image = self.writer.made[key]
        return image

    def _constant_map(self, node: NodeProto, lifted: _Lifted, channels: range) -> str:
        """Write the convolution of a color that is the same at every position: [N * K, C, H * W]."""
        writer, kernel, output = self.writer, self._kernel(node, [channels]), node.output[0]
        weights = numpy_helper.to_array(writer.initializers[kernel])
        size, count = weights.shape[2:], math.prod(weights.shape[2:])
        # Over a map of 1 x 1, padded on all sides, the convolution is the product with each tap, last tap first.
        taps = writer.add("Conv", [lifted.color, kernel], f"{output}_taps", pads=[extent - 1 for extent in size] * 2)
        taps = writer.reshape(taps, [0, 0, -1], output=f"{output}_taps_flat")  # [N * K, C, T]

        one = numpy_helper.from_array(np.ones(1, weights.dtype))
        one_hot = np.eye(count, dtype=weights.dtype)[::-1].reshape(count, 1, *size)
        extents = writer.vector([1, 1], writer.extents(self._resized(lifted), 2))
        ones = writer.add("ConstantOfShape", [extents], f"{output}_ones", value=one)
        inside = writer.copy(node, [ones, writer.initializer(one_hot, f"{output}_one_hot")], "inside")
        inside = writer.reshape(inside, [count, -1], output=f"{output}_inside_flat")  # [T, H * W]
        return writer.add("MatMul", [taps, inside], f"{output}_constant")

    def _with_colors(self, node: NodeProto) -> NodeProto:
        """Copy a node so that it runs at batch N * K."""
        result = NodeProto()
        result.CopyFrom(node)
        at = EXTENTS_INPUT.get(node.op_type, len(node.input))
        if at < len(node.input) and not attribute(node, "axes", []):
            # The extents that the node names may have N for the batch; it takes the batch of its data instead.
            data, extents = node.input[0], node.input[at]
            copied = {"Expand": [1], "Reshape": [0]}.get(node.op_type)
            batch = copied or self.writer.once("Shape", [data], f"{data}_batch", start=0, end=1)
            others = self.facts.values(extents)[1:] or self.writer.tail(extents)
            result.input[at] = self.writer.vector(batch, others)
            if node.op_type == "Reshape":
                del result.attribute[:]  # allowzero, under which 0 does not mean a copy
        for index, name in enumerate(node.input):
            if self.kinds.get(name) is _Kind.IMAGE:
                result.input[index] = self._repeated(name)
        return result

    def _repeated(self, name: str) -> str:
        """Write a repetition of each sample for K colors: [N, ...] -> [N * K, ...]."""
        writer = self.writer
        colors = writer.once("Shape", [self.color], "colors", start=1, end=2)
        ones = [1] * (len(self.facts.shapes[name]) - 1)
        spread = writer.once("Expand", [self._unsqueezed(name), writer.vector([1], colors, ones)], f"{name}_spread")
        return writer.once("Reshape", [spread, writer.vector([-1], writer.extents(name, 1))], f"{name}_repeated")

    def _unsqueezed(self, name: str) -> str:
        """Write an axis for the colors: [N, ...] -> [N, 1, ...]."""
        return self.writer.once("Unsqueeze", [name, self.writer.vector([1])], f"{name}_unsqueezed")


def _refusal(node: NodeProto, reason: str) -> ModelError:
    named = f"{node.op_type} ({node.name or node.output[0]})"
    return ModelError(f"{named} cannot run for many colors: {reason}", remedy=_REMEDY)
