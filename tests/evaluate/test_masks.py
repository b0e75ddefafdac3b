import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyexport.evaluate.masks import Counts, fill_mask

masks = arrays(np.bool_, (6, 5))


def row(*pixels: tuple[int, int, int]) -> np.ndarray:
    return np.array([pixels], dtype=np.uint8)


def test_the_threshold_is_halfway_from_white_to_the_color() -> None:
    image = row((255, 0, 0), (255, 126, 126), (255, 127, 127), (255, 128, 128), (255, 255, 255), (0, 0, 255), (0, 0, 0))
    mask = fill_mask(image, (255, 0, 0))
    assert mask is not None
    assert mask.tolist() == [[True, True, True, False, False, False, True]]


def test_a_fill_like_paper_has_no_mask() -> None:
    image = row((255, 255, 255), (250, 250, 250))
    assert fill_mask(image, (255, 255, 255)) is None
    assert fill_mask(image, (247, 247, 255)) is None
    assert fill_mask(image, (246, 255, 255)) is not None


@given(arrays(np.uint8, (4, 5, 3)), st.tuples(*[st.integers(0, 255)] * 3))
def test_it_is_the_nearer_of_color_and_white(image: np.ndarray, rgb: tuple[int, int, int]) -> None:
    mask = fill_mask(image, rgb)
    if mask is not None:
        to_color, to_white = (np.square(image.astype(int) - other).sum(axis=-1) for other in (rgb, (255, 255, 255)))
        assert np.array_equal(mask, to_color < to_white)


def test_counts_by_hand() -> None:
    predicted = np.array([[1, 1, 1, 0, 0, 0, 0, 0]], bool)
    target = np.array([[1, 1, 0, 1, 1, 1, 0, 0]], bool)
    counts = Counts.of(predicted, target)
    assert counts == Counts(tp=2, fp=1, fn=3, tn=2)
    assert counts.metrics() == {
        "tp_px": 2,
        "fp_px": 1,
        "fn_px": 3,
        "tn_px": 2,
        "accuracy": 0.5,
        "precision": pytest.approx(2 / 3),
        "recall": 0.4,
        "specificity": pytest.approx(2 / 3),
        "f1": 0.5,
        "iou": pytest.approx(1 / 3),
        "dice": 0.5,
        "wrong": 1,
        "page_filled": 0,
    }


def test_nothing_to_divide_by_is_undefined() -> None:
    empty = Counts(tp=0, fp=0, fn=0, tn=9).metrics()
    assert empty["accuracy"] == empty["specificity"] == 1
    assert all(np.isnan(empty[name]) for name in ("precision", "recall", "f1", "iou", "dice"))
    assert empty["wrong"] == empty["page_filled"] == 0
    missed = Counts(tp=0, fp=0, fn=4, tn=5).metrics()
    assert missed["recall"] == missed["f1"] == missed["iou"] == 0
    assert np.isnan(missed["precision"])


@pytest.mark.parametrize(
    ("counts", "wrong", "page_filled"),
    [
        (Counts(tp=9, fp=1, fn=0, tn=90), 0, 0),
        (Counts(tp=8, fp=1, fn=0, tn=91), 1, 0),
        (Counts(tp=0, fp=2, fn=0, tn=98), 1, 0),
        (Counts(tp=30, fp=68, fn=0, tn=2), 1, 0),
        (Counts(tp=30, fp=69, fn=0, tn=1), 1, 1),
        (Counts(tp=99, fp=1, fn=0, tn=0), 0, 0),
    ],
)
def test_wrong_drawings_and_filled_pages(counts: Counts, wrong: int, page_filled: int) -> None:
    values = counts.metrics()
    assert (values["wrong"], values["page_filled"]) == (wrong, page_filled)


@given(masks, masks)
def test_counts_sum_to_the_pixels_and_ratios_lie_in_range(predicted: np.ndarray, target: np.ndarray) -> None:
    counts = Counts.of(predicted, target)
    values = counts.metrics()
    assert counts.tp + counts.fp + counts.fn + counts.tn == predicted.size
    assert min(counts.tp, counts.fp, counts.fn, counts.tn) >= 0
    ratios = [value for name, value in values.items() if not name.endswith("_px") and not np.isnan(value)]
    assert all(0 <= ratio <= 1 for ratio in ratios)
    if not np.isnan(values["iou"]):
        assert values["dice"] == pytest.approx(2 * values["iou"] / (1 + values["iou"]))
    if values["precision"] and values["recall"] and not np.isnan(values["precision"] + values["recall"]):
        harmonic = 2 / (1 / values["precision"] + 1 / values["recall"])
        assert values["f1"] == pytest.approx(harmonic)
