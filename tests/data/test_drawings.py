from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import Drawing, draw
from polyexport.data.shapes import SHAPES
from polyexport.data.splits import SPLITS
from polyexport.evaluate.floodfill import flood_fill

CLEAN = DrawingConfig(antialiased=0, gapped=0, noisy=0, jpeg=0, tinted=0, multiple=0)


def same(one: Drawing, other: Drawing) -> bool:
    return one.color == other.color and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("image", "colored")
    )


def test_the_same_seed_gives_the_same_drawing() -> None:
    first, again, other = (draw(np.random.default_rng(seed), 64) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_the_generator_draws_what_it_always_drew() -> None:
    """Model cards and recorded scores name seeds, so a seed must give the same drawings in every version."""
    totals = [int(draw(np.random.default_rng(seed), 32).colored.sum()) for seed in range(4)]
    assert totals == GOLDEN


GOLDEN = [752505, 652252, 630742, 709143]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(16, 160), st.sampled_from(sorted(SHAPES)))
def test_every_drawing_is_a_pair_on_white(seed: int, size: int, shape: str) -> None:
    drawing = draw(np.random.default_rng(seed), size, shape=shape, color=(10, 20, 30))

    assert drawing.image.shape == drawing.colored.shape == (size, size, 3)
    assert drawing.image.dtype == drawing.colored.dtype == np.uint8
    border = np.concatenate([drawing.colored[0], drawing.colored[-1], drawing.colored[:, 0], drawing.colored[:, -1]])
    assert (border == 255).all()  # nothing is cut off
    assert (drawing.colored < 128).any()  # a shape a few pixels wide may have no pixel that is wholly inside


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(SHAPES)))
def test_clean_targets_are_two_flat_colors_and_cover_the_ink(seed: int, shape: str) -> None:
    drawing = draw(np.random.default_rng(seed), 64, CLEAN, shape=shape, color=(200, 0, 9))
    filled = (drawing.colored == (200, 0, 9)).all(axis=-1)
    ink = drawing.image[..., 0] < 128

    assert ((drawing.colored == 255).all(axis=-1) | filled).all()
    assert filled[ink].all()


def test_gaps_remove_ink_and_change_nothing_else() -> None:
    thin = replace(CLEAN, max_stroke=0.06)
    for seed in range(20):
        rng = np.random.default_rng
        whole = draw(rng(seed), 96, thin, shape="hexagon", color=(0, 0, 0))
        gapped = draw(rng(seed), 96, replace(thin, gapped=1), shape="hexagon", color=(0, 0, 0))
        # The ends of a gap, six at most, are drawn anew; a corner of each may stick out beside the old stroke, which is
        # six pixels wide at most.
        assert (gapped.colored != whole.colored).any(axis=-1).sum() <= 6 * 6
        assert np.mean(gapped.image < whole.image) < 0.005
        assert gapped.image.sum() > whole.image.sum()


def test_options_do_what_they_say() -> None:
    rng = np.random.default_rng(0)
    smooth = draw(rng, 64, replace(CLEAN, antialiased=1), shape="circle")
    noisy = draw(rng, 64, replace(CLEAN, noisy=1))
    jpeg = draw(rng, 64, replace(CLEAN, jpeg=1), shape="star")
    tinted = draw(rng, 64, replace(CLEAN, tinted=1))
    wide = draw(rng, 128, replace(CLEAN, min_stroke=0.09, max_stroke=0.1), shape="circle")
    palette = {draw(rng, 16, DrawingConfig(palette=((1, 2, 3), (4, 5, 6)))).color for _ in range(20)}
    shapes = {draw(rng, 16, replace(CLEAN, shapes=("star", "blob"))).shape for _ in range(20)}

    assert len(np.unique(smooth.image)) > 4
    assert len(np.unique(noisy.image)) > 10
    assert len(np.unique(jpeg.image)) > 4
    assert tinted.image[0, 0, 0] < 255
    assert palette == {(1, 2, 3), (4, 5, 6)}
    assert shapes == {"star", "blob"}
    assert (wide.image[..., 0] < 128).sum() > 12 * 36  # a stroke 12 pixels wide, around the smallest circle


def test_several_shapes_stay_apart() -> None:
    counts = set()
    for seed in range(30):
        drawing = draw(np.random.default_rng(seed), 128, replace(CLEAN, multiple=1), shape="square", color=(0, 0, 0))
        counts.add(ndimage.label(drawing.colored[..., 0] == 0, structure=np.ones((3, 3)))[1])
        assert drawing.shape == "multi"
    assert counts == {2, 3, 4}


@pytest.mark.parametrize("split", ["clean", "curved", "multi", "pockets"])
def test_whole_aliased_outlines_enclose_their_fill(split: str) -> None:
    """A flood fill of a whole, aliased outline gives the target."""
    for seed in range(40):
        config = SPLITS[split].drawings
        assert isinstance(config, DrawingConfig)
        config = replace(config, antialiased=0, min_stroke=2 / 128)
        drawing = draw(np.random.default_rng(seed), 128, config, color=(200, 0, 0))
        wrong = (flood_fill(drawing.image, (200, 0, 0)) != drawing.colored).any(axis=-1)
        assert wrong.mean() < 0.002, seed  # a pixel in the corner of a concave outline


def test_a_flood_fill_leaks_through_gaps() -> None:
    leaks = 0
    for seed in range(20):
        drawing = draw(np.random.default_rng(seed), 128, SPLITS["gapped"].drawings, color=(0, 0, 0))
        leaks += (flood_fill(drawing.image, (0, 0, 0)) != drawing.colored).mean() > 0.02
    assert leaks > 12


@pytest.mark.slow
def test_every_split_has_its_difficulty() -> None:
    assert set(SPLITS) >= {"clean", "thick", "gapped", "noisy", "curved", "multi", "pockets"}
    ink = {
        name: np.mean([(draw(np.random.default_rng(i), 128, split.drawings).image < 128).mean() for i in range(30)])
        for name, split in SPLITS.items()
    }
    assert ink["thick"] > 2 * ink["clean"]


def test_wrong_arguments_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 16"):
        draw(rng, 8)
    with pytest.raises(ValueError, match="unknown shape 'cube'.*circle"):
        draw(rng, 32, shape="cube")
    with pytest.raises(ValueError, match="unknown shapes cube; known: circle"):
        DrawingConfig(shapes=("cube",))
    with pytest.raises(ValueError, match="gapped"):
        DrawingConfig(gapped=2)
    with pytest.raises(ValueError, match="min_stroke"):
        DrawingConfig(min_stroke=0.2)
