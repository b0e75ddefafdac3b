import numpy as np
import pytest

from polyexport.data.sketches import subjects
from polyexport.data.sketches.strokes import Stroke


def area(stroke: Stroke) -> float:
    x, y = stroke.points.T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2))


@pytest.mark.parametrize("subject", [subjects.icon, subjects.symbol, subjects.letter, subjects.outline])
def test_every_subject_lies_in_a_box_of_side_one(subject: object) -> None:
    assert callable(subject)
    found = 0
    for seed in range(60):
        strokes = subject(np.random.default_rng(seed))
        if strokes:
            points = np.concatenate([stroke.points for stroke in strokes])
            assert np.isfinite(points).all()
            assert np.ptp(points, axis=0).max() == pytest.approx(1)
            assert np.abs(points).max() <= 0.5 + 1e-9
            found += 1
    assert found >= 58


def test_solid_symbols_have_ink_and_holes() -> None:
    signs = {stroke.solid for seed in range(80) for stroke in subjects.symbol(np.random.default_rng(seed))}
    assert signs == {0, 1, -1}


def test_curves_are_followed() -> None:
    """The letter O is two round contours: flattened with too few points, its area would be far too small."""
    from polyexport.data.sketches.glyphs import glyph

    outer, inner = sorted(glyph(None, "O", solid=False), key=area, reverse=True)
    box = np.ptp(outer.points, axis=0)
    assert area(outer) == pytest.approx(np.pi / 4 * box[0] * box[1], rel=0.04)
    assert area(inner) < area(outer)
