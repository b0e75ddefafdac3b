"""A foreign ONNX graph as one operator of PyTorch: run by ONNX Runtime, and traced as one node.

Run eagerly, ``polyexport::foreign_graph`` is the file itself on ONNX Runtime's CPU provider, so a module that calls it
is the reference of a proof, and so is its traced program. In a trace the operator is a node of a private domain, which
``polyexport.export.graph.inlining`` replaces by the nodes of the file.
"""

import functools
import hashlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx.defs import OpSchema
from torch import Tensor, fx

from polyexport.errors import reason_of
from polyexport.export.graph.foreign_bounds import output_bounds

__all__ = [
    "DOMAIN",
    "FATAL_SEVERITY",
    "GRAPH_ATTRIBUTE",
    "PREFIX",
    "Extent",
    "ForeignGraph",
    "bounds_of",
    "call",
    "graph_of",
    "inner_values",
    "translations",
]

DOMAIN = "polyexport.foreign"
"""Domain of the node that stands for a graph while a network is traced. No written file has it."""

GRAPH_ATTRIBUTE = "graph_key"
"""Attribute of that node with the key of the graph."""

PREFIX = "original/"
"""Beginning of the names that nodes and tensors of a foreign graph get within a traced one."""

FATAL_SEVERITY = 4
"""ONNX Runtime's log level that leaves out errors, which become messages here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """One extent of a graph's output: a number, or a multiple of an extent of its first input."""

    factor: Fraction
    """The extent itself if ``axis`` is None, else its ratio to that axis."""

    axis: int | None = None
    """Axis of the first input."""

    def of(self, shape: Sequence[Any]) -> Any:
        """Return the extent for a shape of the first input, whose extents may be symbols."""
        if self.axis is None:
            return int(self.factor)
        return shape[self.axis] * self.factor.numerator // self.factor.denominator


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class ForeignGraph:
    """One output of a foreign graph, its inputs, and a session that runs it."""

    model: onnx.ModelProto
    """The graph without functions, with ONNX's own operators alone."""

    session: ort.InferenceSession
    """Session on the file as it is, on ONNX Runtime's CPU provider."""

    inputs: tuple[str, ...]
    """Names of the inputs, in the order in which they are called."""

    output: str
    """Name of the output."""

    dtype: torch.dtype
    """Type of the output."""

    shape: tuple[Extent, ...]
    """Extents of the output."""

    key: str = field(init=False)
    """Name of this graph and output in a trace."""

    def __post_init__(self) -> None:
        text = f"{self.output}\n{self.inputs}\n".encode() + self.model.SerializeToString(deterministic=True)
        object.__setattr__(self, "key", hashlib.sha256(text).hexdigest())
        _GRAPHS[self.key] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> "ForeignGraph":
        """Return the graph itself: nothing changes it, and a session cannot be copied."""
        return self

    def run(self, values: Sequence[Tensor]) -> Tensor:
        """Run the file on inputs of its own types.

        Raises:
            RuntimeError: ONNX Runtime refuses or fails; the message is its own, without the place in its source.
        """
        try:
            (found,) = self.session.run([self.output], self._feeds(values))
        except Exception as error:
            raise RuntimeError(f"ONNX Runtime on the original file: {reason_of(error)}") from error
        return torch.from_numpy(found)

    def inner_values(self, values: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
        """Run the graph node by node, and return every tensor but the output under its name within a traced graph."""
        tapped = onnx.ModelProto()
        tapped.CopyFrom(self.model)
        present = {value.name for value in tapped.graph.output}
        made = [name for node in tapped.graph.node for name in node.output if name]
        tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in present)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = FATAL_SEVERITY
        session = ort.InferenceSession(tapped.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(made, self._feeds(values))
        return {f"{PREFIX}{name}": value for name, value in zip(made, found, strict=True) if name != self.output}

    def _feeds(self, values: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
        return {name: value.detach().contiguous().numpy() for name, value in zip(self.inputs, values, strict=True)}


_GRAPHS: "weakref.WeakValueDictionary[str, ForeignGraph]" = weakref.WeakValueDictionary()


def graph_of(key: str) -> ForeignGraph:
    """Return the graph that a node of ``DOMAIN`` stands for; whoever traces keeps it alive."""
    return _GRAPHS[key]


def bounds_of(key: str) -> tuple[float, float] | None:
    """Return the values that the output of a graph cannot leave, whatever its inputs; None if that is not known."""
    graph = graph_of(key)
    return output_bounds(graph.model, graph.output)


@torch.library.custom_op("polyexport::foreign_graph", mutates_args=())
def _foreign_graph(inputs: Sequence[Tensor], key: str) -> Tensor:
    return graph_of(key).run(inputs)


@_foreign_graph.register_fake
def _(inputs: Sequence[Tensor], key: str) -> Tensor:
    graph = graph_of(key)
    return inputs[0].new_empty([extent.of(inputs[0].shape) for extent in graph.shape], dtype=graph.dtype)


def call(graph: ForeignGraph, inputs: Sequence[Tensor]) -> Tensor:
    """Call a graph on inputs of its own types, in eager mode or while it is traced."""
    found: Tensor = _foreign_graph(list(inputs), graph.key)
    return found


def inner_values(node: fx.Node, arguments: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return the tensors within a node of a traced program; none if it is not a foreign graph."""
    if node.target is not torch.ops.polyexport.foreign_graph.default:
        return {}
    inputs, key = arguments
    return graph_of(key).inner_values(inputs)


_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.bool: "bool",
}
_PARAMETERS = OpSchema.FormalParameterOption


@functools.cache
def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what ``torch.onnx.export`` writes for the operator, as its ``custom_translation_table``."""
    from onnxscript.values import Opset

    for name in _TYPES.values():  # an operator for each type of the output, so that its type can be inferred
        inputs = OpSchema.FormalParameter(
            "inputs", "T", param_option=_PARAMETERS.Variadic, is_homogeneous=False, min_arity=1
        )
        schema = OpSchema(
            name,
            DOMAIN,
            1,
            inputs=[inputs],
            outputs=[OpSchema.FormalParameter("output", f"tensor({name})")],
            type_constraints=[("T", [f"tensor({each})" for each in _TYPES.values()], "")],
            attributes=[OpSchema.Attribute(GRAPH_ATTRIBUTE, OpSchema.AttrType.STRING, required=True)],
        )
        onnx.defs.register_schema(schema)
    opset = Opset(DOMAIN, 1)

    def translate(inputs: Sequence[Any], key: str) -> Any:
        operator = getattr(opset, _TYPES[graph_of(key).dtype])
        return operator(*inputs, **{GRAPH_ATTRIBUTE: key})

    return {torch.ops.polyexport.foreign_graph.default: translate}
