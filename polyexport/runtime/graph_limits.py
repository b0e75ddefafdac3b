"""Limits of the graph of an untrusted model file, found in its bytes before any runtime parses them.

A graph without subgraphs, functions and operators of other domains computes each of its nodes exactly once. So one run
on the golden sample costs at least what any provider can spend on the parts of the graph that do not depend on the
image, and the file's size bounds the number of nodes.
"""

from polyexport.errors import ContractError
from polyexport.runtime.onnx_bytes import records

__all__ = ["MAX_GRAPH_FIELDS", "MAX_MODEL_FIELDS", "refuse_unbounded"]

MAX_MODEL_FIELDS = 4096
"""Largest number of fields of the outermost message of a model file. Exported files have fewer than 20."""

MAX_GRAPH_FIELDS = 1_000_000
"""Largest number of fields of the graph, its nodes and their attributes. ``small`` has about 1500; the largest number
takes two seconds to read."""

_ORT_FORMAT = b"ORTM"  # at offset 4, where ONNX Runtime looks for its own format before it tries ONNX

_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25  # field numbers in onnx.proto: of ModelProto,
_NODE = 1  # of GraphProto,
_OP_TYPE, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of NodeProto,
_SUBGRAPH, _SUBGRAPHS = 6, 11  # and of AttributeProto

_DOMAINS = (b"", b"ai.onnx")
_REMEDY = "give a model that `polyexport export` wrote"


def refuse_unbounded(model: bytes) -> None:
    """Check that the graph of a model file can be read in a bounded time, and computes each node once.

    Raises:
        ContractError: not a whole protobuf message, too many fields, ONNX Runtime's own format, functions, training
            information, operators with subgraphs (If, Loop, Scan, SequenceMap), or of another domain than ONNX's own.
    """
    if model[4:8] == _ORT_FORMAT:
        raise ContractError("it is in ONNX Runtime's own format, expected ONNX", remedy=_REMEDY)
    view = memoryview(model)
    fields = 0
    for count, (number, content, _, end) in enumerate(records(view)):
        if count >= MAX_MODEL_FIELDS:
            raise ContractError(f"it has more than {MAX_MODEL_FIELDS} fields", remedy=_REMEDY)
        if number in (_TRAINING, _FUNCTIONS):
            what = "functions" if number == _FUNCTIONS else "training information"
            raise ContractError(f"it holds {what}, expected one graph of ONNX's own operators", remedy=_REMEDY)
        if number == _GRAPH and content is not None:
            fields = _check_graph(view[content:end], fields)


def _check_graph(graph: memoryview, fields: int) -> int:
    """Check one part of the graph, and return the number of fields that were read so far."""
    for number, content, _, end in records(graph):
        fields += 1
        if number == _NODE and content is not None:
            fields += _check_node(graph[content:end], MAX_GRAPH_FIELDS - fields)
        if fields > MAX_GRAPH_FIELDS:
            raise ContractError(f"its graph has more than {MAX_GRAPH_FIELDS} fields", remedy=_REMEDY)
    return fields


def _check_node(node: memoryview, most: int) -> int:
    """Check one node, and return the number of its fields; the count ends soon after ``most``."""
    fields, subgraphs, operator = 0, False, b""
    for number, content, _, end in records(node):
        fields += 1
        if fields > most:
            break
        if content is None:
            continue
        if number == _OP_TYPE:
            operator = bytes(node[content:end])
        elif number == _DOMAIN and bytes(node[content:end]) not in _DOMAINS:
            domain = _shown(bytes(node[content:end]))
            raise ContractError(
                f"its graph has an operator of the domain {domain}, expected ONNX's own", remedy=_REMEDY
            )
        elif number == _ATTRIBUTE:
            for field, *_ in records(node[content:end]):
                fields += 1
                subgraphs = subgraphs or field in (_SUBGRAPH, _SUBGRAPHS)
                if fields > most:
                    break
    if subgraphs:
        raise ContractError(
            f"its graph has a node with a graph of its own ({_shown(operator)}), which may run without end",
            remedy="export the network without If, Loop and Scan",
        )
    return fields


def _shown(name: bytes) -> str:
    return repr(name[:40].decode(errors="replace"))
