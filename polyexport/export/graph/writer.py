"""Writing of nodes and initializers into a graph, under names that are not in use."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["GraphWriter"]


@dataclass(kw_only=True, slots=True)
class GraphWriter:
    """Builder of a graph: collects ``nodes``, in an order in which they can run, and ``initializers``.

    Names follow from the calls alone: equal calls give equal graphs.
    """

    initializers: dict[str, TensorProto]
    taken: set[str]
    """Names of nodes and tensors that are in use."""

    nodes: list[NodeProto] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)
    """Names of tensors that several nodes share, by their definition."""

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> Self:
        """Return a writer that takes none of the names in a graph."""
        taken = {name for node in graph.node for name in (node.name, *node.input, *node.output)}
        taken |= {value.name for value in (*graph.initializer, *graph.input, *graph.output)}
        return cls(initializers={}, taken=taken)

    def applied_to(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return a copy of a model that has these nodes in place of its own, and these initializers with its own."""
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        del changed.graph.node[:]
        changed.graph.node.extend(self.nodes)
        changed.graph.initializer.extend(self.initializers.values())
        return changed

    def fresh(self, name: str) -> str:
        """Return a name that is not in use: this one, or with a number appended."""
        unique, number = name, 1
        while unique in self.taken:
            unique, number = f"{name}_{number}", number + 1
        self.taken.add(unique)
        return unique

    def add(self, op: str, inputs: Iterable[str], output: str, *, exact: bool = False, **attributes: Any) -> str:
        """Write a node with one output; ``exact`` gives that very name, which is then not to be in use elsewhere."""
        output = output if exact else self.fresh(output)
        self.nodes.append(helper.make_node(op, list(inputs), [output], self.fresh(f"node_{output}"), **attributes))
        return output

    def once(self, op: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """Write a node as ``add`` does, or return the output of an equal node that was written before."""
        inputs = list(inputs)
        key = f"{op} {inputs} {attributes}"
        if key not in self.made:
            self.made[key] = self.add(op, inputs, output, **attributes)
        return self.made[key]

    def copy(self, node: NodeProto, inputs: Iterable[str], suffix: str) -> str:
        """Write a copy of a node with other inputs, and return the name of its first output."""
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name, output = self.fresh(f"{node.name}_{suffix}"), self.fresh(f"{node.output[0]}_{suffix}")
        copy.input[:], copy.output[:] = inputs, [output]
        self.nodes.append(copy)
        return output

    def initializer(self, array: NDArray[Any], name: str) -> str:
        """Write a constant and return its name."""
        name = self.fresh(name)
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def reshape(self, data: str, *extents: str | Sequence[int], output: str, exact: bool = False) -> str:
        """Write a Reshape to extents that are given as numbers and as names of int64 vectors, concatenated."""
        return self.add("Reshape", [data, self.vector(*extents)], output, exact=exact)

    def vector(self, *pieces: str | Sequence[int]) -> str:
        """Write extents, int64 [rank], given as numbers and as names of int64 vectors, concatenated."""
        names = [piece if isinstance(piece, str) else self._numbers(piece) for piece in pieces]
        return names[0] if len(names) == 1 else self.once("Concat", names, f"{names[-1]}_joined", axis=0)

    def extents(self, name: str, start: int) -> str:
        """Write the extents of a tensor from an axis on, int64 [rank - start]."""
        return self.once("Shape", [name], f"{name}_extents", start=start)

    def tail(self, extents: str) -> str:
        """Write a slice with all but the first entry of a vector."""
        ends = [self.vector([end]) for end in (1, np.iinfo(np.int64).max)]
        return self.once("Slice", [extents, *ends], f"{extents}_tail")

    def _numbers(self, values: Sequence[int]) -> str:
        key = f"numbers {list(values)}"
        if key not in self.made:
            name = "_".join(("extents", *map(str, values))).replace("-", "minus")
            self.made[key] = self.initializer(np.array(values, dtype=np.int64), name)
        return self.made[key]
