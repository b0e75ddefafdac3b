import numpy as np
import pytest
from PIL import Image

from polyexport.data.sketches.gaps import _part
from polyexport.data.sketches.raster import Grid, erased, inked
from polyexport.data.sketches.strokes import Stroke, densified

GRID = Grid(size=128, scale=2, margin=1)
LINE = Stroke(points=densified(np.array([[10.0, 64.0], [118.0, 64.0]]), False, 0.9), closed=False)


def length_along_the_middle(ink: Image.Image) -> float:
    pixels = np.asarray(ink)
    return float((pixels[len(pixels) // 2] > 0).sum() / GRID.scale)


@pytest.mark.parametrize("width", [1.5, 4.0, 11.5])
@pytest.mark.parametrize("uneven", [False, True])
def test_round_ends_are_longer_by_the_width_and_cut_ends_are_not(width: float, uneven: bool) -> None:
    given = np.full(len(LINE.points), width) if uneven else width
    cut, rounded = (length_along_the_middle(inked(GRID, [LINE], [given], rounded=ends)) for ends in (False, True))
    assert cut == pytest.approx(108, abs=1)
    assert rounded == pytest.approx(108 + width, abs=1)


@pytest.mark.parametrize("width", [1.5, 4.0, 11.5])
@pytest.mark.parametrize("length", [4.0, 20.0])
def test_a_cut_gap_is_as_long_as_asked_whatever_the_stroke(width: float, length: float) -> None:
    ink = inked(GRID, [LINE], [width], rounded=False)
    before = length_along_the_middle(ink)
    erased(ink, GRID, [(_part(LINE, len(LINE.points) // 2, length), 1.5 * width + 1)], [])
    assert before - length_along_the_middle(ink) == pytest.approx(length, abs=1)


def test_a_part_is_measured_along_the_stroke_whatever_the_distances_of_its_vertices() -> None:
    uneven = np.concatenate([np.linspace(0, 10, 50), [90, 100]])
    stroke = Stroke(points=np.stack([uneven, np.zeros_like(uneven)], axis=1), closed=False)
    part = _part(stroke, 50, 12.0)
    assert np.linalg.norm(np.diff(part, axis=0), axis=1).sum() == pytest.approx(12)
