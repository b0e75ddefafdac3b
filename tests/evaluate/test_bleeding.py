import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from polyexport.evaluate.bleeding import bleeding_metrics, paper_of

images = arrays(np.uint8, (6, 5, 3))


def page() -> np.ndarray:
    """40x40, paper but for a black square of 10x10 in its middle."""
    target = np.full((40, 40, 3), 255, np.uint8)
    target[15:25, 15:25] = 0
    return target


def measured(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
    return bleeding_metrics(image, target, paper_of(target))


def test_a_tinted_background_bleeds_everywhere() -> None:
    image = page()
    image[page().min(axis=-1) == 255] = (255, 240, 255)
    assert measured(image, page()) == {"bleeding": 1, "bleeding_far": 1, "tint_levels": 15}


def test_a_faint_tint_counts_for_its_strength_alone() -> None:
    image = page()
    image[:20][page()[:20].min(axis=-1) == 255] = 247
    values = measured(image, page())
    assert values["bleeding"] == values["bleeding_far"] == 0
    assert values["tint_levels"] == pytest.approx(4)


def test_a_soft_edge_is_no_leak() -> None:
    image = page()
    image[13:27, 13:27] = 0
    values = measured(image, page())
    assert values["bleeding"] == pytest.approx((14**2 - 10**2) / (40**2 - 10**2))
    assert values["bleeding_far"] == 0
    image[0:2, 0:2] = 0
    assert measured(image, page())["bleeding_far"] > 0


def test_what_is_missing_inside_is_no_bleeding() -> None:
    assert measured(np.full_like(page(), 255), page()) == {"bleeding": 0, "bleeding_far": 0, "tint_levels": 0}


def test_without_paper_nothing_is_defined_and_without_fill_all_is_far() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert all(np.isnan(value) for value in measured(white, black).values())
    assert measured(black, white) == {"bleeding": 1, "bleeding_far": 1, "tint_levels": 255}


@given(images, images)
def test_ranges_and_a_perfect_image(image: np.ndarray, target: np.ndarray) -> None:
    values = [value for value in measured(image, target | 0xF0).values() if not np.isnan(value)]
    assert all(0 <= value <= 255 for value in values)
    assert all(value == 0 or np.isnan(value) for value in measured(target, target).values())
