"""Search for the first node of an fp32 graph that is wrong beyond rounding, each node judged by its own inputs.

The graph is cut at every tensor that has a name in the PyTorch program, and each piece between the cuts gets the
program's values as inputs. So a node is not blamed for what an earlier one did, and a small error is visible where it
is made. The truth is the same piece of the program, run in float64 on the same inputs; the error that PyTorch's own
float32 has against it is the unit in which a piece is judged.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, fx

from polyexport.errors import reason_of
from polyexport.export.proof.cause import Cause, failing_node, open_unfused, symbolic_value
from polyexport.export.proof.parity import Candidate

__all__ = ["find_local_cause", "layer_of"]

_ERRORS_OF_PYTORCH = 16
"""Largest error of a piece, as a multiple of PyTorch's own float32 error on the same inputs. Two right orders of a sum
differ by a small factor; a wrong constant of 1e-4 is off by hundreds."""

_ROUNDINGS = 8  # largest error in roundings of the largest value, where PyTorch itself has none
_LARGEST_UNEQUAL = 1e-3  # largest fraction of integers or 8-bit levels that differ
_TRUE = "/true"  # ending of the inputs that stand for the program's values


def find_local_cause(
    candidate: Candidate,
    program: torch.export.ExportedProgram,
    values: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, NDArray[Any]],
) -> Cause | None:
    """Judge every piece of a graph between tensors that the program has values for.

    Args:
        candidate: An fp32 graph.
        program: The program that it was traced as.
        values: Result of ``program_values`` for the same inputs.
        inputs: Inputs of the graph by name.

    Returns:
        The first piece, in the graph's order, whose result is wrong, by its last node; or the node that fails to run;
        None if no piece is wrong.
    """
    graph = candidate.model.graph
    kinds = _kinds(candidate.model)
    named = [name for node in graph.node for name in node.output if name in values]
    cut = {name for name in named if kinds.get(name) == (values[name].dtype, values[name].ndim)}
    pieces = _cut_model(candidate.model, named, cut, kinds)
    feeds = dict(inputs) | {f"{name}{_TRUE}": values[name] for name in cut}
    try:
        session = open_unfused(pieces)
        wanted = {each.name for each in session.get_inputs()}
        found = session.run(named, {name: value for name, value in feeds.items() if name in wanted})
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types
        return failing_node(graph, str(error), reason_of(error))
    truths = _Truths(program, values, candidate.output)
    makers = {name: node for node in graph.node for name in node.output}
    for name, value in zip(named, found, strict=True):
        fault = _fault(truths.of(name, _sources(name, makers, cut)), values[name], value)
        if fault:
            node = makers[name]
            layer = layer_of(program, name)
            return Cause(node=node.name, operator=node.op_type, tensor=name, detail=fault, layer=layer)
    return None


_SOURCES = "polyexport.export.source."
"""Package of the modules that are put around a network, which is their submodule ``network``."""


def layer_of(program: torch.export.ExportedProgram, tensor: str) -> str:
    """Dotted name of the submodule that makes a tensor of the program; empty if the network itself does."""
    node = next((node for node in program.graph.nodes if node.name == tensor), None)
    stack = node.meta.get("nn_module_stack") if node is not None else None
    path, around = "", ["module"]  # the wrapper's name for the network
    for place, kind in stack.values() if stack else ():
        path = str(place)
        if _SOURCES in str(kind):
            around = [*path.split("."), "network"]
    parts = path.split(".")
    own = parts[len(around) :] if parts[: len(around)] == around else parts[around.index("module") + 1 :]
    return ".".join(own)


def _kinds(model: onnx.ModelProto) -> dict[str, tuple[np.dtype[Any], int]]:
    """Types and ranks of the tensors that shape inference knows."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except onnx.shape_inference.InferenceError:
        return {}
    return {
        value.name: (helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type), len(shape.dim))
        for value in (*graph.value_info, *graph.output)
        if (shape := value.type.tensor_type.shape) is not None and value.type.tensor_type.elem_type
    }


def _cut_model(
    model: onnx.ModelProto, named: list[str], cut: set[str], kinds: Mapping[str, tuple[np.dtype[Any], int]]
) -> onnx.ModelProto:
    """Let every reader of a cut tensor read an input instead, and make every named tensor an output."""
    pieces = onnx.ModelProto()
    pieces.CopyFrom(model)
    graph = pieces.graph
    for node in graph.node:
        node.input[:] = [f"{name}{_TRUE}" if name in cut else name for name in node.input]
    for name in sorted(cut):
        dtype, rank = kinds[name]
        element = helper.np_dtype_to_tensor_dtype(dtype)
        graph.input.append(helper.make_tensor_value_info(f"{name}{_TRUE}", element, [None] * rank))
    present = {value.name for value in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in named if name not in present)
    return pieces


def _sources(name: str, makers: Mapping[str, onnx.NodeProto], cut: set[str]) -> frozenset[str]:
    """Cut tensors that the piece which makes a tensor reads."""
    sources, seen, waiting = set(), set(), [*makers[name].input]
    while waiting:
        each = waiting.pop()
        if each in cut:
            sources.add(each)
        elif each in makers and each not in seen:
            seen.add(each)
            waiting.extend(makers[each].input)
    return frozenset(sources)


class _Truths:
    """The program's pieces, run in float64."""

    def __init__(self, program: torch.export.ExportedProgram, values: Mapping[str, NDArray[Any]], output: str) -> None:
        module = program.module()
        self._runner = fx.Interpreter(module)
        self._nodes = {node.name: node for node in module.graph.nodes}
        self._nodes[output] = self._nodes[program.graph_signature.output_specs[0].arg.name]
        self._values = values

    def of(self, name: str, sources: frozenset[str]) -> NDArray[np.float64]:
        """Value of a tensor, made of the program's values of other tensors; its own value where that cannot be run."""
        try:
            with torch.inference_mode():
                result = self._run(self._nodes[name], sources, {})
            return np.asarray(result.double().numpy())
        except Exception:  # noqa: BLE001 - an operator without float64, or one that names a type
            return self._values[name].astype(np.float64)

    def _run(self, node: fx.Node, sources: frozenset[str], made: dict[fx.Node, Any]) -> Any:
        for each in node.all_input_nodes:
            if each not in made and (each.name in sources or each.op == "placeholder"):
                made[each] = _double(torch.from_numpy(np.array(self._values[each.name])))
            elif each not in made:
                made[each] = self._run(each, sources, made)
        self._runner.env = made
        arguments, keywords = self._runner.fetch_args_kwargs_from_env(node)
        if node.op == "call_function" and "onnx_symbolic" in str(node.target):
            return _double(symbolic_value(arguments[0], arguments[1]))
        if keywords.get("dtype") == torch.float32:
            keywords = {**keywords, "dtype": torch.float64}
        return _double(getattr(self._runner, node.op)(node.target, arguments, keywords))


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _fault(true: NDArray[np.float64], pytorch: NDArray[Any], found: NDArray[Any]) -> str:
    """Return the reason why the result of a piece is wrong; empty if it is right."""
    if true.size != found.size:
        return f"shape {list(found.shape)}, PyTorch has {list(true.shape)}"
    exact, value = true.ravel(), found.astype(np.float64).ravel()
    if not np.issubdtype(found.dtype, np.floating):
        unequal = float(np.mean(exact != value)) if value.size else 0.0
        return f"{unequal:.3%} of the values differ" if unequal > _LARGEST_UNEQUAL else ""
    known = np.isfinite(exact)
    if not np.isfinite(value[known]).all():
        return f"{np.count_nonzero(~np.isfinite(value[known]))} of {value.size} values are NaN or infinite"
    own = float(np.max(np.abs(pytorch.astype(np.float64).ravel()[known] - exact[known]), initial=0.0))
    error = float(np.max(np.abs(value[known] - exact[known]), initial=0.0))
    largest = float(np.max(np.abs(exact[known]), initial=0.0))
    explained = _ERRORS_OF_PYTORCH * own + _ROUNDINGS * float(np.finfo(np.float32).eps) / 2 * largest
    if error <= explained:
        return ""
    beside = f", PyTorch's float32 by {own:.1g}" if own else ""
    return f"off by up to {error:.3g}{beside}; the largest value is {largest:.3g}"
