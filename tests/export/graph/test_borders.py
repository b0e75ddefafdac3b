from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyexport.export.graph.borders import bridged

WIDTHS = {"first": (3, 16), "second": (16, 16), "deep": (16, 32), "last": (48, 3)}


def unet(widths: dict[str, tuple[int, int]] = WIDTHS) -> onnx.ModelProto:
    """first, Relu, second, Relu, then both a pool with deep behind it and the skip to last."""
    nodes = [
        helper.make_node("Conv", ["image", "w_first"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["ra"], name="relu_a"),
        helper.make_node("Conv", ["ra", "w_second"], ["b"], name="second"),
        helper.make_node("Relu", ["b"], ["rb"], name="relu_b"),
        helper.make_node("MaxPool", ["rb"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w_deep"], ["c"], name="deep"),
        helper.make_node("Resize", ["c", "", "scales"], ["u"], name="up"),
        helper.make_node("Concat", ["rb", "u"], ["cat"], name="cat", axis=1),
        helper.make_node("Conv", ["cat", "w_last"], ["colored"], name="last"),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((out, into, 1, 1), np.float32), f"w_{name}")
        for name, (into, out) in widths.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("colored", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [*weights, numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (["first", "last"], ["first", "second", "last"]),
        (["last"], ["last"]),  # second reads what first makes in integers
        (["first"], ["first"]),  # nobody reads second in float
        ([], []),
    ],
)
def test_narrow_convolutions_between_float_ones_join_them(kept: Sequence[str], expected: Sequence[str]) -> None:
    assert bridged(unet(), kept) == tuple(expected)


def test_a_wide_one_is_worth_its_borders() -> None:
    wide = WIDTHS | {"second": (16, 17)}
    assert bridged(unet(wide), ["first", "last"]) == ("first", "last")


def test_one_that_reads_integers_stays_integer() -> None:
    wide = WIDTHS | {"first": (3, 17), "second": (17, 16)}
    assert bridged(unet(wide), ["last"]) == ("last",)
