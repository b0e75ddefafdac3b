"""A model's graph taken apart: which of its tensors can be compared, and smaller graphs that give them.

Tensors that follow from the stored weights alone are not compared by themselves: providers fold them before they
run, so each belongs to the node that uses it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from polyexport.errors import ContractError, reason_of

__all__ = ["SIZES_PREFIX", "Step", "TakenApart"]

SIZES_PREFIX = "polyexport_size_of_"
"""Prefix of the outputs of ``TakenApart.sizes``, before the name of a tensor."""

_NO_TENSORS = ("Sequence", "SplitToSequence", "Optional", "ConcatFromSequence")
"""Beginnings of the names of operators that make or take lists of tensors, which are not compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One node of a graph whose results depend on the inputs."""

    node: onnx.NodeProto
    """The node."""

    tensors: tuple[str, ...]
    """Names of its outputs."""

    inputs: tuple[str, ...]
    """Names of the inputs of the node that depend on the inputs of the graph."""

    @property
    def name(self) -> str:
        """Name of the node, or of its first output if it has none."""
        return str(self.node.name or self.tensors[0])


class TakenApart:
    """The graph of one model file, and the smaller graphs that are cut out of it."""

    def __init__(self, data: bytes) -> None:
        """Parse a model file.

        Args:
            data: bytes of a file without subgraphs, functions and external data; see ``refuse_unbounded``.

        Raises:
            ContractError: not an ONNX model.
        """
        try:
            self._model = onnx.load_model_from_string(data)
        except Exception as error:  # protobuf's own
            raise ContractError(reason_of(error), remedy="give a model that `polyexport export` wrote") from error
        graph = self._model.graph
        stored = {tensor.name for tensor in graph.initializer} | {each.values.name for each in graph.sparse_initializer}
        self.inputs = {value.name: value for value in graph.input if value.name not in stored}
        """Inputs of the graph by name."""
        self.outputs = tuple(str(value.name) for value in graph.output)
        """Names of the outputs of the graph."""
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._sparse = {each.values.name: each for each in graph.sparse_initializer}
        self.steps = self._steps()
        """Every node whose results depend on the inputs, in the order of the graph."""

    def _steps(self) -> tuple[Step, ...]:
        live = set(self.inputs)
        steps = []
        for node in self._model.graph.node:
            inputs = tuple(dict.fromkeys(name for name in node.input if name in live))
            tensors = tuple(name for name in node.output if name)
            if inputs and tensors:
                live.update(tensors)
                if not node.op_type.startswith(_NO_TENSORS):
                    steps.append(Step(node=node, tensors=tensors, inputs=inputs))
        return tuple(steps)

    def weights_of(self, step: Step) -> dict[str, bytes]:
        """Return the stored tensors that a node computes with, by name, serialized."""
        _, stored = self._ancestors(step.node.input, known=frozenset(step.inputs))
        return {name: stored[name].SerializeToString(deterministic=True) for name in sorted(stored)}

    def num_weights(self, step: Step) -> int:
        """Return the number of stored values that a node computes with."""
        _, stored = self._ancestors(step.node.input, known=frozenset(step.inputs))
        return sum(math.prod(tensor.dims) for tensor in stored.values())

    def cut(self, tensors: Sequence[str]) -> bytes:
        """Return the bytes of the graph that gives some tensors as its outputs, with the nodes that they need."""
        model = self._written(tensors, [onnx.ValueInfoProto(name=name) for name in tensors])
        return bytes(model.SerializeToString())

    def sizes(self) -> bytes:
        """Return the bytes of a graph that gives the number of elements of every tensor instead of the tensor."""
        tensors = [name for step in self.steps for name in step.tensors]
        sized = [f"{SIZES_PREFIX}{name}" for name in tensors]
        outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, []) for name in sized]
        model = self._written(tensors, outputs)
        model.graph.node.extend(helper.make_node("Size", [a], [b]) for a, b in zip(tensors, sized, strict=True))
        return bytes(model.SerializeToString())

    def alone(self, step: Step, values: Mapping[str, NDArray[Any]]) -> bytes:
        """Return the bytes of a graph of one node with its weights, whose inputs are those that a step depends on.

        Args:
            step: a step of this graph.
            values: the inputs of the node, whose types and shapes become those of the graph's inputs.
        """
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape)
            for name in step.inputs
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in step.tensors]
        return bytes(self._written(step.tensors, outputs, inputs).SerializeToString())

    def used_inputs(self, tensors: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the inputs of the graph that some tensors depend on."""
        nodes, _ = self._ancestors(tensors)
        used = {name for node in nodes for name in node.input} | set(tensors)
        return tuple(name for name in self.inputs if name in used)

    def _written(
        self,
        tensors: Sequence[str],
        outputs: Sequence[onnx.ValueInfoProto],
        inputs: Sequence[onnx.ValueInfoProto] | None = None,
    ) -> onnx.ModelProto:
        known = frozenset(value.name for value in inputs or ())
        nodes, stored = self._ancestors(tensors, known=known)
        graph = onnx.GraphProto(name="taken apart", node=nodes, output=outputs)
        graph.input.extend([self.inputs[name] for name in self.used_inputs(tensors)] if inputs is None else inputs)
        for tensor in stored.values():
            (graph.sparse_initializer if isinstance(tensor, onnx.SparseTensorProto) else graph.initializer).append(
                tensor
            )
        return onnx.ModelProto(ir_version=self._model.ir_version, opset_import=self._model.opset_import, graph=graph)

    def _ancestors(
        self, tensors: Sequence[str], *, known: frozenset[str] = frozenset()
    ) -> tuple[list[onnx.NodeProto], dict[str, onnx.TensorProto | onnx.SparseTensorProto]]:
        """Return the nodes and the stored tensors that some tensors need, beside those that are known."""
        wanted, seen = [name for name in tensors if name], set(known)
        stored: dict[str, onnx.TensorProto | onnx.SparseTensorProto] = {}
        needed: set[int] = set()
        while wanted:
            name = wanted.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self._initializers:
                stored[name] = self._initializers[name]
            elif name in self._sparse:
                stored[name] = self._sparse[name]
            elif name in self._makers and id(self._makers[name]) not in needed:
                needed.add(id(self._makers[name]))
                wanted.extend(each for each in self._makers[name].input if each)
        ordered = [
            node for node in self._model.graph.node if any(id(self._makers.get(o)) in needed for o in node.output)
        ]
        return ordered, stored
