"""Model files that keep their contract's form and its hash, and ask for more time or memory than anybody has."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polyexport.model.contract import COLORED, IMAGE_INPUT, METADATA_KEY
from polyexport.runtime.onnx_bytes import graph_sha256

_RAW = "raw_colored"


def stamped(model: onnx.ModelProto, changes: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a model with the hash of its graph in its contract, and with other entries there.

    Args:
        model: a model with a contract.
        changes: entries of the contract by their names.
    """
    [entry] = model.metadata_props
    contract = json.loads(entry.value) | dict(changes or {})
    del model.metadata_props[:]
    contract["graph_sha256"] = graph_sha256(model.SerializeToString())
    helper.set_model_props(model, {METADATA_KEY: json.dumps(contract, sort_keys=True)})
    return bytes(model.SerializeToString())


def with_nodes(data: bytes, nodes: Sequence[NodeProto], constants: Mapping[str, Any] | None = None) -> bytes:
    """A model file whose output waits for ``heavy``, a float tensor of any shape that ``nodes`` make.

    The output stays what it is, plus the minimum of ``heavy`` times zero.
    """
    model = onnx.load_model_from_string(data)
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == COLORED:
                node.output[place] = _RAW
    tail = [
        helper.make_node("ReduceMin", ["heavy"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["nothing_8"], to=TensorProto.UINT8),
        helper.make_node("Add", [_RAW, "nothing_8"], [COLORED]),
    ]
    for name, value in {"zero": np.float32(0), **(constants or {})}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    model.graph.node.extend([*nodes, *tail])
    return stamped(model)


def _n(operator: str, inputs: Sequence[str], output: str = "heavy", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


def endless_loop(data: bytes) -> bytes:
    """A Loop whose condition is always true."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["more"], ["still_more"]), helper.make_node("Identity", ["x"], ["same"])],
        "body",
        [value("i", TensorProto.INT64, []), value("more", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, [])],
        [value("still_more", TensorProto.BOOL, []), value("same", TensorProto.FLOAT, [])],
    )
    loop = _n("Loop", ["", "true", "zero"], body=body)
    return with_nodes(data, [loop], {"true": np.array(True)})


def huge_constant(data: bytes) -> bytes:
    """A ConstantOfShape of 10 GB."""
    return with_nodes(data, [_n("ConstantOfShape", ["shape"])], {"shape": np.array([2_500_000_000])})


def expanded(data: bytes) -> bytes:
    """An Expand of one value to 10 GB."""
    return with_nodes(data, [_n("Expand", ["zero", "shape"])], {"shape": np.array([50_000, 50_000])})


def tiled(data: bytes) -> bytes:
    """A Tile of the image, which cannot be folded."""
    nodes = [
        _n("Cast", [IMAGE_INPUT], "floats", to=TensorProto.FLOAT),
        _n("Tile", ["floats", "repeats"]),
    ]
    return with_nodes(data, nodes, {"repeats": np.array([1, 500, 500, 1])})


def resized(data: bytes) -> bytes:
    """A Resize of the image to a thousand times its height and width."""
    nodes = [
        _n("Cast", [IMAGE_INPUT], "floats", to=TensorProto.FLOAT),
        _n("Transpose", ["floats"], "planes", perm=[0, 3, 1, 2]),
        _n("Resize", ["planes", "", "scales"]),
    ]
    return with_nodes(data, nodes, {"scales": np.array([1, 1, 1000, 1000], np.float32)})


def ranged(data: bytes) -> bytes:
    """A Range of a million million values."""
    nodes = [_n("Range", ["start", "limit", "delta"])]
    return with_nodes(data, nodes, {"start": np.float32(0), "limit": np.float32(1e12), "delta": np.float32(1)})


def random(data: bytes) -> bytes:
    """A RandomNormal of 10 GB."""
    return with_nodes(data, [_n("RandomNormal", [], shape=[50_000, 50_000])])


def einsum(data: bytes) -> bytes:
    """An Einsum that makes 10 GB of two vectors."""
    nodes = [_n("Einsum", ["vector", "vector"], equation="i,j->ij")]
    return with_nodes(data, nodes, {"vector": np.zeros(50_000, np.float32)})


def matrix_products(data: bytes) -> bytes:
    """Products of matrices that take hours and little memory."""
    nodes = [_n("ConstantOfShape", ["shape"], "product_0")]
    nodes += [_n("MatMul", [f"product_{i}", f"product_{i}"], f"product_{i + 1}") for i in range(300)]
    nodes += [_n("Identity", ["product_300"])]
    return with_nodes(data, nodes, {"shape": np.array([3000, 3000])})


def deep_convolutions(data: bytes) -> bytes:
    """Ten thousand convolutions of the image, minutes of work that needs little memory."""
    nodes = [
        _n("Cast", [IMAGE_INPUT], "floats", to=TensorProto.FLOAT),
        _n("Transpose", ["floats"], "layer_0", perm=[0, 3, 1, 2]),
    ]
    nodes += [_n("Conv", [f"layer_{i}", "kernel"], f"layer_{i + 1}", pads=[15] * 4) for i in range(10_000)]
    nodes += [_n("Identity", ["layer_10000"])]
    return with_nodes(data, nodes, {"kernel": np.zeros((3, 3, 31, 31), np.float32)})


def doubled(data: bytes) -> bytes:
    """Forty Concats, each of which doubles a tensor: constants that fold while the session is created."""
    nodes = [_n("Concat", [f"twice_{i}", f"twice_{i}"], f"twice_{i + 1}", axis=0) for i in range(40)]
    nodes += [_n("Identity", ["twice_40"])]
    return with_nodes(data, nodes, {"twice_0": np.zeros(1, np.float32)})


def nonzero(data: bytes) -> bytes:
    """A NonZero of 400 million ones, whose output is 16 times as large as its input."""
    nodes = [
        _n("ConstantOfShape", ["shape"], "ones", value=helper.make_tensor("one", TensorProto.BOOL, [1], [1])),
        _n("NonZero", ["ones"], "places"),
        _n("Cast", ["places"], to=TensorProto.FLOAT),
    ]
    return with_nodes(data, nodes, {"shape": np.array([20_000, 20_000])})


def laughing_functions(data: bytes) -> bytes:
    """Forty functions, each of which calls the one before it twice."""
    model = onnx.load_model_from_string(data)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("laughs", 1)]
    for i in range(40):
        domain, called = ("laughs", f"Laugh{i - 1}") if i else ("", "Neg")
        nodes = [
            helper.make_node(called, ["x"], ["y"], domain=domain),
            helper.make_node(called, ["y"], ["z"], domain=domain),
        ]
        model.functions.append(helper.make_function("laughs", f"Laugh{i}", ["x"], ["z"], nodes, opsets))
    model.opset_import.append(helper.make_opsetid("laughs", 1))
    nodes = [helper.make_node("Laugh39", ["zero"], ["heavy"], domain="laughs")]
    return with_nodes(bytes(model.SerializeToString()), nodes)


def deep_type(data: bytes) -> bytes:
    """A type of sequences of sequences, ten thousand deep, written by hand because no library writes it."""
    nested = b""
    for _ in range(10_000):
        # TypeProto.sequence_type (4) of Sequence.elem_type (1)
        inner = _record(1, nested)
        nested = _record(4, inner)
    value = _record(1, b"deep") + _record(2, nested)
    deep = data + _record(7, _record(13, value))
    return deep.replace(graph_sha256(data).encode(), graph_sha256(deep).encode())


def _record(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


HOSTILE_GRAPHS: dict[str, Callable[[bytes], bytes]] = {
    each.__name__: each
    for each in (
        endless_loop,
        huge_constant,
        expanded,
        tiled,
        resized,
        ranged,
        random,
        einsum,
        matrix_products,
        deep_convolutions,
        doubled,
        nonzero,
        laughing_functions,
        deep_type,
    )
}
"""Makers of hostile files from a good one, by name."""
