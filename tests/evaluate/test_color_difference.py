import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import deltaE_ciede2000, rgb2lab

from polyexport.evaluate.color_difference import NAMES, PAPER, ciede2000, confused, name_of, painted_name
from polyexport.imaging.color import NAMED_COLORS

# Of the supplementary test data of Sharma et al.: L a b, L a b, difference.
SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]

colors = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_the_library_repeats_the_published_pairs(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    assert float(deltaE_ciede2000(first, second)) == pytest.approx(expected, abs=1e-4)


@given(arrays(np.uint8, (3, 4, 3)), arrays(np.uint8, (3, 4, 3)))
def test_each_pixel_has_the_librarys_difference(image: np.ndarray, target: np.ndarray) -> None:
    found = ciede2000(image, target)
    assert found.shape == (3, 4)
    assert np.allclose(found, deltaE_ciede2000(rgb2lab(image), rgb2lab(target)))
    assert np.all((found >= 0) & (found < 125))
    assert not ciede2000(image, image).any()


def test_black_and_white_are_a_hundred_apart() -> None:
    assert float(ciede2000((0, 0, 0), (255, 255, 255))) == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize(("name", "rgb"), NAMED_COLORS)
def test_a_named_color_has_its_name(name: str, rgb: tuple[int, int, int]) -> None:
    assert name_of(rgb) == painted_name(rgb, rgb) == name
    assert not confused(painted_name(rgb, rgb), name_of(rgb))


def test_names_are_the_twenty_and_the_paper() -> None:
    assert len(NAMES) == 21
    assert name_of((255, 255, 255)) == name_of((250, 252, 251)) == PAPER


def test_a_swapped_color_is_confused_and_an_empty_fill_is_not() -> None:
    assert confused(painted_name((0, 0, 255), (255, 0, 0)), "red")
    assert not confused(painted_name((255, 255, 255), (255, 0, 0)), "red")


@given(colors, st.integers(-1, 1))
def test_a_difference_that_nobody_sees_is_no_confusion(wanted: tuple[int, int, int], step: int) -> None:
    near = tuple(min(255, max(0, channel + step)) for channel in wanted)
    painted = (near[0], near[1], near[2])
    if float(ciede2000(painted, wanted)) <= 1.8:
        assert not confused(painted_name(painted, wanted), name_of(wanted))
