import numpy as np
import pytest

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.shapes import SHAPES
from polyexport.evaluate.floodfill import flood_fill

CLEAN = DrawingConfig(antialiased=0, gapped=0, noisy=0, tinted=0)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_clean_aliased_drawing_is_filled_exactly(shape: str) -> None:
    drawing = draw(np.random.default_rng(4), 96, CLEAN, shape=shape, color=(9, 8, 7))
    filled = flood_fill(drawing.image, (9, 8, 7))
    assert np.mean(filled == drawing.colored) > 0.99


def test_a_gap_leaks() -> None:
    drawing = draw(
        np.random.default_rng(0), 96, DrawingConfig(antialiased=0, gapped=1, noisy=0, tinted=0), shape="square"
    )
    filled = flood_fill(drawing.image, drawing.color)
    assert np.mean(filled == drawing.colored) < 0.95
