from pathlib import Path

import pytest
from onnx import TensorProto, helper
from onnx_files import FILES, constant, picture, save_graph, weights

from polyexport.errors import UsageError
from polyexport.export.source.onnx_file import OnnxFile, read_onnx_file
from polyexport.export.source.onnx_trial import Reading, read_shapes

CONVOLUTION = helper.make_node("Conv", ["x", "W"], ["y"], pads=[1, 1, 1, 1])
KERNEL = weights("W", 3, 3, 3, 3)


def saved(path: Path, *extents: int | str, kernel: int = 3) -> OnnxFile:
    """A convolution of 3x3 of an input with these extents."""
    values = [weights("W", 3, kernel, 3, 3)]
    return read_onnx_file(
        save_graph(path / "a.onnx", [CONVOLUTION], [picture("x", *extents)], [picture("y", *"abcd")], values)
    )


def seen(reading: Reading) -> tuple[str, int, str, tuple[int, int] | None]:
    return reading.layout, reading.channels, reading.output_layout, reading.fixed_shape


@pytest.mark.parametrize(
    ("extents", "kernel", "expected"),
    [
        (("n", 3, "h", "w"), 3, ("NCHW", 3, "NCHW", None)),
        ((1, 3, 20, 30), 3, ("NCHW", 3, "NCHW", (20, 30))),
        (("a", "b", "c", "d"), 3, ("NCHW", 3, "NCHW", None)),
        (("a", "b", "c", "d"), 1, ("NCHW", 1, "NCHW", None)),
        (("a", 6, "c", "d"), 6, ("NCHW", 6, "NCHW", None)),
        (("n", 3, 24, "w"), 3, ("NCHW", 3, "NCHW", (24, 24))),
    ],
)
def test_axes_are_read_from_the_shape_or_tried(
    extents: tuple[int | str, ...], kernel: int, expected: tuple[object, ...], tmp_path: Path
) -> None:
    assert seen(read_shapes(saved(tmp_path, *extents, kernel=kernel))) == expected


def test_extents_follow_from_those_of_the_image(tmp_path: Path) -> None:
    reading = read_shapes(read_onnx_file(FILES["keras"](tmp_path / "a.onnx")))
    assert [extent.of((5, 10, 12, 3)) for extent in reading.shape] == [5, 20, 24, 3]
    reading = read_shapes(read_onnx_file(FILES["function"](tmp_path / "b.onnx")))
    assert [extent.of((3, 10, 12)) for extent in reading.shape] == [3, 10, 12]


def test_a_layout_can_be_said_and_has_to_be_possible(tmp_path: Path) -> None:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    path = save_graph(tmp_path / "a.onnx", relu, [picture("x", *"abcd")], [picture("y", *"abcd")])
    file = read_onnx_file(path)
    with pytest.raises(UsageError, match=r"takes its input x .* as NCHW with 3 channels and NCHW with 1") as caught:
        read_shapes(file)
    assert "--layout" in caught.value.remedy
    with pytest.raises(UsageError, match="which cannot be CHW") as caught:
        read_shapes(file, layout="CHW")
    assert "--layout NCHW or NHWC" in caught.value.remedy


def test_a_batch_that_the_file_freezes_is_found_by_trying(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["b"], pads=[1] * 4),
        helper.make_node("Shape", ["x"], ["s"], start=1),
        helper.make_node("Concat", ["one", "s"], ["t"], axis=0),
        helper.make_node("Reshape", ["b", "t"], ["y"]),
    ]
    values = [KERNEL, constant("one", [1], "int64")]
    reading = read_shapes(
        read_onnx_file(save_graph(tmp_path / "a.onnx", nodes, [picture("x")], [picture("y")], values))
    )
    assert reading.shape[0].of((1, 3, 8, 8)) == 1


@pytest.mark.parametrize(
    ("extents", "message", "remedy"),
    [
        ((4, 3, 32, 32), "takes 4 images at a time", "batch of 1"),
        (("n", 3), "has no input for an image among its inputs", r"\[batch, channels, height, width\]"),
    ],
)
def test_an_image_that_cannot_be_is_refused(
    extents: tuple[int | str, ...], message: str, remedy: str, tmp_path: Path
) -> None:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    path = save_graph(tmp_path / "a.onnx", relu, [picture("x", *extents)], [picture("y", *extents)])
    with pytest.raises(UsageError, match=message) as caught:
        read_shapes(read_onnx_file(path))
    assert caught.match(remedy)


def test_an_image_of_integers_is_refused(tmp_path: Path) -> None:
    kind = TensorProto.INT64
    nodes = [helper.make_node("Abs", ["x"], ["y"])]
    path = save_graph(tmp_path / "a.onnx", nodes, [picture("x", kind=kind)], [picture("y", kind=kind)])
    with pytest.raises(UsageError, match="as int64, expected float32, float16, float64 or uint8"):
        read_shapes(read_onnx_file(path))


def test_outputs_are_chosen_by_name_or_position_and_asked_for(tmp_path: Path) -> None:
    nodes = [CONVOLUTION, helper.make_node("Sigmoid", ["y"], ["z"]), helper.make_node("GlobalMaxPool", ["y"], ["v"])]
    outputs = [picture("y"), picture("z"), picture("v", "n", 3, 1, 1)]
    file = read_onnx_file(save_graph(tmp_path / "a.onnx", nodes, [picture("x")], outputs, [KERNEL]))

    with pytest.raises(UsageError, match="makes 2 images of .*: y .*; z .*; v ") as caught:
        read_shapes(file)
    assert "--output-key y" in caught.value.remedy
    assert read_shapes(file, output="z").output.name == "z"
    assert read_shapes(file, output="0").output.name == "y"
    with pytest.raises(UsageError, match="has no output 'q'"):
        read_shapes(file, output="q")
    with pytest.raises(UsageError, match="makes no image of its input x .*none of a size that follows"):
        read_shapes(file, output="v")


def test_a_size_that_nobody_knows_can_be_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "t"], ["r"]),
        helper.make_node("Conv", ["r", "W"], ["y"], pads=[1] * 4),
    ]
    values = [KERNEL, constant("t", [-1, 3, 40, 40], "int64")]
    file = read_onnx_file(save_graph(tmp_path / "a.onnx", nodes, [picture("x")], [picture("y")], values))
    with pytest.raises(UsageError, match="makes no image") as caught:
        read_shapes(file)
    assert "--size" in caught.value.remedy
    assert read_shapes(file, size=40).fixed_shape == (40, 40)
