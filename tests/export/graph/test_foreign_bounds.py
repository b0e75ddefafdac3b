from pathlib import Path

import onnx
import pytest
from onnx import NodeProto, helper
from onnx_files import FILES, constant, picture, save_graph

from polyexport.export.graph.foreign_bounds import output_bounds, takes_levels

CONSTANTS = [
    constant("k", 255),
    constant("half", 0.5),
    constant("low", -1),
    constant("mean", [[[103]], [[116]], [[124]]]),
]


def built(path: Path, *nodes: NodeProto) -> onnx.ModelProto:
    return onnx.load(save_graph(path / "a.onnx", nodes, [picture("x")], [picture("y")], CONSTANTS))


@pytest.mark.parametrize(
    ("steps", "bounds"),
    [
        ([("Sigmoid", "x")], (0, 1)),
        ([("Tanh", "x"), ("Mul", "a0", "half"), ("Add", "half", "a1")], (0, 1)),
        ([("Sigmoid", "x"), ("Mul", "a0", "k")], (0, 255)),
        ([("Tanh", "x"), ("Sub", "a0", "low"), ("Div", "a1", "half")], (0, 4)),
        ([("Clip", "x", "low", "k"), ("Transpose", "a0")], (-1, 255)),
        ([("Sigmoid", "x"), ("Relu", "a0")], None),
        ([("Sigmoid", "x"), ("Sub", "half", "a0")], None),
        ([("Relu", "x")], None),
    ],
)
def test_bounds_of_an_output(steps: list[tuple[str, ...]], bounds: tuple[float, float] | None, tmp_path: Path) -> None:
    nodes = [
        helper.make_node(operator, read, ["y" if number == len(steps) - 1 else f"a{number}"])
        for number, (operator, *read) in enumerate(steps)
    ]
    assert output_bounds(built(tmp_path, *nodes), "y") == bounds


def test_an_output_of_uint8_is_levels(tmp_path: Path) -> None:
    assert output_bounds(onnx.load(FILES["levels"](tmp_path / "a.onnx")), "y") == (0, 255)


@pytest.mark.parametrize(
    ("step", "levels"),
    [
        (("Div", "x", "k"), True),
        (("Sub", "x", "mean"), True),
        (("Sub", "x", "half"), False),
        (("Sub", "k", "x"), False),
        (("Relu", "x"), False),
    ],
)
def test_what_an_image_is_first_used_for_shows_its_range(step: tuple[str, ...], levels: bool, tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["z"]), helper.make_node(step[0], step[1:], ["y"])]
    assert takes_levels(built(tmp_path, *nodes), "x") is levels
