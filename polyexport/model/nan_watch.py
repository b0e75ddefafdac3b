"""An extra output of a model that shows which of its images contain NaN or infinity.

Converting floats to 8 bits turns NaN into plain black without an error. So, before a graph is loaded, a node and an
output are appended to its bytes: the mean of each channel of the network's last floats, which is finite only if every
one of them is. Protocol buffers make the appending simple: the fields of a message that stands twice in a
file are merged (https://protobuf.dev/programming-guides/encoding/#last-one-wins).

On the CPU it costs nothing that can be measured in ONNX Runtime; in OpenVINO up to 3 %, where the floats are scaled
after the network, and nothing where the mean is taken before that. For this reason the search goes back over the
operators in ``_SCALING``.
"""

import numpy as np
from numpy.typing import NDArray

from polyexport.runtime.onnx_bytes import records

__all__ = ["WATCH", "all_numbers", "watched"]

WATCH = "polyexport_watch"
"""Name of the extra output, float [images, channels, 1, 1]: the mean of each channel."""

_GRAPH = 7  # field numbers in onnx.proto: of ModelProto,
_NODE, _OUTPUT = 1, 12  # of GraphProto,
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE = 1, 2, 4  # of NodeProto
_NAME = 1  # and of ValueInfoProto
_MAX_NODES_TO_FLOATS = 16  # nodes between the output and the network's last floats
_SCALING = frozenset(("Add", "Sub", "Mul", "Div"))

_Node = tuple[str, list[str]]  # operator and inputs


def watched(model: bytes, output: str) -> bytes:
    """Append the extra output ``WATCH`` to the bytes of a model file.

    Args:
        model: The bytes.
        output: Name of the graph's output.

    Returns:
        The model with the output ``WATCH``; unchanged if its output is not made by a QuantizeLinear.

    Raises:
        ContractError: not a whole protobuf message.
        UnicodeDecodeError: names that are not UTF-8.
    """
    floats = _last_floats(_nodes(memoryview(model)), output)
    if not floats:
        return model
    mean = _record(_NODE_INPUT, floats.encode()) + _record(_NODE_OUTPUT, WATCH.encode())
    mean += _record(_OP_TYPE, b"GlobalAveragePool")
    declared = _record(_NAME, WATCH.encode())
    return model + _record(_GRAPH, _record(_NODE, mean) + _record(_OUTPUT, declared))


def all_numbers(watch: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell from the output ``WATCH`` which images are finite everywhere, bool [images]."""
    found: NDArray[np.bool_] = np.isfinite(watch.reshape(len(watch), -1)).all(axis=1)
    return found


def _nodes(model: memoryview) -> dict[str, _Node]:
    """Return the nodes of the graph by the name of each of their outputs."""
    nodes: dict[str, _Node] = {}
    for number, content, _, end in records(model):
        if number != _GRAPH or content is None:
            continue
        graph = model[content:end]
        for field, start, _, stop in records(graph):
            if field != _NODE or start is None:
                continue
            node = graph[start:stop]
            texts: dict[int, list[str]] = {_NODE_INPUT: [], _NODE_OUTPUT: [], _OP_TYPE: []}
            for key, text, _, limit in records(node):
                if key in texts and text is not None:
                    texts[key].append(bytes(node[text:limit]).decode())
            for output in texts[_NODE_OUTPUT]:
                nodes[output] = ("".join(texts[_OP_TYPE]), texts[_NODE_INPUT])
    return nodes


def _last_floats(nodes: dict[str, _Node], output: str) -> str:
    """Name the float tensor whose 8-bit conversion becomes the output, before scaling; empty if there is none."""
    name, converted = output, False
    for _ in range(_MAX_NODES_TO_FLOATS):
        kind, inputs = nodes.get(name, ("", []))
        scaled = kind in _SCALING and not any(other in nodes for other in inputs[1:])
        if converted and not scaled:
            return name if inputs else ""
        if not inputs:
            return ""
        converted = converted or kind == "QuantizeLinear"
        name = inputs[0]
    return ""


def _record(number: int, content: bytes) -> bytes:
    """Encode a length-delimited field of a protocol buffer."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
