"""The nodes of a foreign graph in the place of the node that stands for it in a traced one.

Both get one version of ONNX's operators: the higher one, since converters go upward. Names of the foreign graph get a
prefix, so that they are none of the traced graph's, and every node gets one.
"""

from collections.abc import Callable, Iterable, Mapping

from onnx import ModelProto, NodeProto, TensorProto, helper, version_converter

from polyexport.errors import ModelError, reason_of
from polyexport.export.graph.foreign import DOMAIN, GRAPH_ATTRIBUTE, PREFIX, ForeignGraph, graph_of

__all__ = ["OWN_DOMAINS", "at_opset", "inline_foreign", "opset_of"]

_LATEST_WITHOUT_MODES = 10
"""Latest opset whose Upsample and Resize have no coordinate transformation: they are what later ones call
``asymmetric``, with ``floor`` for the nearest pixel. The converter leaves later ones at their default."""

OWN_DOMAINS = ("", "ai.onnx")
"""Names of the domain of ONNX's own operators."""


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's own operators that a model is written in; 0 if it names none."""
    return max((each.version for each in model.opset_import if each.domain in OWN_DOMAINS), default=0)


def at_opset(model: ModelProto, opset: int) -> ModelProto:
    """Convert a model of ONNX's own operators to a later opset.

    Raises:
        ModelError: the converter of the onnx package knows no way.
    """
    before = opset_of(model)
    if before >= opset:
        return model
    try:
        converted: ModelProto = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises RuntimeError, ValueError and its own kinds
        raise ModelError(
            f"the graph cannot be converted from opset {before} to {opset}: {reason_of(error)}",
            remedy=f"nothing was written; export the original file again with opset {opset}",
        ) from error
    if before <= _LATEST_WITHOUT_MODES:
        for node in converted.graph.node:
            if node.op_type == "Resize":
                kept = [each for each in node.attribute if each.name == "mode"]
                del node.attribute[:]
                node.attribute.extend(kept)
                for name, value in (("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")):
                    node.attribute.append(helper.make_attribute(name, value))
                node.input[1] = ""  # a region of interest, which asymmetric has none of
    return converted


def inline_foreign(traced: ModelProto) -> ModelProto:
    """Replace every node of ``DOMAIN`` by the nodes of its graph; a model without one is returned as it is.

    Raises:
        ModelError: the two graphs cannot be brought to one opset.
    """
    calls = [node for node in traced.graph.node if node.domain == DOMAIN]
    if not calls:
        return traced
    graphs = {node.name: graph_of(_key(node)) for node in calls}
    opset = max(opset_of(model) for model in (traced, *(each.model for each in graphs.values())))
    merged = ModelProto()
    merged.CopyFrom(at_opset(traced, opset))
    graph = merged.graph
    taken = {name for node in graph.node for name in (node.name, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.initializer)}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        inlined, initializers = _inlined(node, graphs[node.name], opset, taken)
        nodes += inlined
        graph.initializer.extend(initializers)
    del graph.node[:]
    graph.node.extend(nodes)
    del merged.opset_import[:]
    merged.opset_import.append(helper.make_opsetid("", opset))
    merged.ir_version = max(merged.ir_version, helper.find_min_ir_version_for(merged.opset_import))
    return merged


def _key(node: NodeProto) -> str:
    return next(str(each.s.decode()) for each in node.attribute if each.name == GRAPH_ATTRIBUTE)


def _inlined(
    node: NodeProto, foreign: ForeignGraph, opset: int, taken: set[str]
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes and constants that a call stands for; ``taken`` gets their names."""
    graph = at_opset(foreign.model, opset).graph
    needed, nodes = {foreign.output}, []
    for each in reversed(graph.node):
        if needed.intersection(each.output):
            nodes.append(each)
            needed.update(each.input)
    nodes.reverse()
    rename = _renamer(taken)
    outer = dict(zip(foreign.inputs, node.input, strict=True))
    made = {name for each in nodes for name in each.output}
    if foreign.output in made:
        outer[foreign.output] = node.output[0]
    names = {"": ""} | {name: outer.get(name) or rename(name) for name in sorted(needed | made) if name}
    renamed = [_renamed(each, names, rename) for each in nodes]
    if foreign.output not in made:  # an input or a constant that is handed on
        source = names[foreign.output]
        renamed.append(helper.make_node("Identity", [source], [node.output[0]], name=rename("Identity")))
    constants = []
    for tensor in graph.initializer:
        if tensor.name in needed and tensor.name not in foreign.inputs:
            constant = TensorProto()
            constant.CopyFrom(tensor)
            constant.name = names[tensor.name]
            constants.append(constant)
    return renamed, constants


def _renamed(node: NodeProto, names: Mapping[str, str], rename: Callable[[str], str]) -> NodeProto:
    changed = NodeProto()
    changed.CopyFrom(node)
    changed.domain = ""
    changed.name = rename(node.name or f"{node.op_type}_{node.output[0]}")
    changed.input[:] = [names[name] for name in node.input]
    changed.output[:] = [names[name] for name in node.output]
    return changed


def _renamer(taken: set[str]) -> Callable[[str], str]:
    """Return a function that makes names which nothing has."""

    def rename(name: str) -> str:
        wished = f"{PREFIX}{name}"
        found = next(each for each in _variants(wished) if each not in taken)
        taken.add(found)
        return found

    return rename


def _variants(name: str) -> Iterable[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1
