import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from skimage.metrics import hausdorff_distance

from polyexport.evaluate.boundary import boundary_metrics, boundary_of, tolerance_px

masks = arrays(np.bool_, (9, 7))
DISTANCES = ("hausdorff_px", "hausdorff_95_px", "boundary_distance_px")
RATIOS = ("boundary_precision", "boundary_recall", "boundary_f1")


def square(left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[10 : 10 + side, left : left + side] = True
    return mask


def compare(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    return boundary_metrics(boundary_of(predicted), boundary_of(target))


def test_the_edge_is_the_innermost_ring_and_the_frame_is_none() -> None:
    assert np.count_nonzero(boundary_of(square(10)).pixels) == 36
    half = np.zeros((8, 8), bool)
    half[:, :4] = True
    assert np.array_equal(np.argwhere(boundary_of(half).pixels), [[row, 3] for row in range(8)])
    assert boundary_of(np.ones((8, 8), bool)).distance_px is None


def test_one_pixel_aside_is_within_the_tolerance_two_are_not() -> None:
    assert compare(square(11), square(10))["boundary_f1"] == 1
    assert compare(square(11), square(10))["hausdorff_px"] == 1
    two = compare(square(12), square(10))
    assert two["boundary_f1"] < 1
    assert two["hausdorff_px"] == 2
    assert two["shape_distortion"] == 1 - two["boundary_f1"]


def test_precision_and_recall_tell_sides_apart() -> None:
    with_island = square(10)
    with_island[35, 35] = True
    values = compare(with_island, square(10))
    assert values["boundary_recall"] == 1
    assert values["boundary_precision"] == pytest.approx(36 / 37)
    assert values["hausdorff_px"] == pytest.approx(np.hypot(16, 16))
    assert values["hausdorff_95_px"] == 0
    assert compare(square(10), with_island)["boundary_recall"] == pytest.approx(36 / 37)


def test_an_edge_that_is_missing_is_as_far_as_can_be() -> None:
    nothing = np.zeros((40, 40), bool)
    for predicted in (nothing, ~nothing):
        values = compare(predicted, square(10))
        assert [values[name] for name in RATIOS] == [0, 0, 0]
        assert [values[name] for name in DISTANCES] == [pytest.approx(np.hypot(40, 40))] * 3
        assert values["shape_distortion"] == 1
    agreed = compare(nothing, nothing)
    assert [agreed[name] for name in (*RATIOS, *DISTANCES)] == [1, 1, 1, 0, 0, 0]


def test_the_tolerance_grows_with_the_image() -> None:
    assert tolerance_px(128, 128) == 1.5
    assert tolerance_px(300, 400) == pytest.approx(3.75)


@given(masks, masks)
def test_ranges_symmetry_and_the_library(predicted: np.ndarray, target: np.ndarray) -> None:
    values, swapped = compare(predicted, target), compare(target, predicted)
    assert all(0 <= values[name] <= 1 for name in (*RATIOS, "shape_distortion"))
    assert 0 <= values["hausdorff_95_px"] <= values["hausdorff_px"] <= np.hypot(9, 7)
    assert values["boundary_distance_px"] <= values["hausdorff_px"]
    assert values["boundary_f1"] == pytest.approx(swapped["boundary_f1"])
    assert all(values[name] == pytest.approx(swapped[name]) for name in DISTANCES)
    edges = [boundary_of(mask).pixels for mask in (predicted, target)]
    if all(edge.any() for edge in edges):
        assert values["hausdorff_px"] == pytest.approx(hausdorff_distance(*edges))


@given(masks)
def test_identical_masks_agree(mask: np.ndarray) -> None:
    values = compare(mask, mask)
    assert values["boundary_f1"] == 1
    assert values["hausdorff_px"] == values["shape_distortion"] == 0
