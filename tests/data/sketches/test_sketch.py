from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from polyexport.data.drawings import draw
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.sketches.sketch import sketch
from polyexport.data.splits import SPLITS
from polyexport.data.splits.split import PLAIN_SKETCHES
from polyexport.evaluate.floodfill import flood_fill
from polyexport.imaging.pixels import Pixels

SKETCH_SPLITS = [name for name, split in SPLITS.items() if isinstance(split.drawings, SketchConfig)]


def drawn(split: str, seed: int, size: int = 128) -> tuple[Pixels, Pixels]:
    """Return picture and answer, filled with black."""
    drawing = draw(np.random.default_rng(seed), size, SPLITS[split].drawings, color=(0, 0, 0))
    return drawing.image, drawing.colored


def test_the_same_seed_gives_the_same_sketch() -> None:
    first, again, other = (sketch(np.random.default_rng(seed), 64, SketchConfig()) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(16, 200), st.sampled_from(SKETCH_SPLITS))
def test_every_sketch_is_a_picture_and_a_coverage(seed: int, size: int, split: str) -> None:
    config = SPLITS[split].drawings
    assert isinstance(config, SketchConfig)
    picture, answer = sketch(np.random.default_rng(seed), size, config)

    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert answer.shape == (size, size)
    assert answer.dtype == np.float32
    assert 0 <= answer.min() <= answer.max() <= 1


@pytest.mark.parametrize("split", ["details", "glyphs", "open_lines", "overlapping", "wobbly"])
def test_a_flood_fill_of_a_whole_sketch_is_its_answer(split: str) -> None:
    wrong = []
    for seed in range(20):
        picture, answer = drawn(split, seed, 256)
        wrong.append((np.abs(flood_fill(picture, (0, 0, 0)).astype(int) - answer) > 160).any(axis=-1).mean())
    assert np.median(wrong) < 0.003
    assert np.mean(np.array(wrong) < 0.02) >= 0.8  # hairlines of partial coverage leak, and light gray ink is no ink


@pytest.mark.parametrize("split", ["cut_gaps", "bitten_gaps", "large_gaps", "dashed"])
def test_gaps_open_the_outline(split: str) -> None:
    leaks = 0
    for seed in range(20):
        picture, answer = drawn(split, seed)
        leaks += (flood_fill(picture, (0, 0, 0)) != answer).mean() > 0.02
    assert leaks >= 14


@pytest.mark.parametrize("size", [64, 256])
def test_large_gaps_grow_with_the_page(size: int) -> None:
    config = SPLITS["large_gaps"].drawings
    assert isinstance(config, SketchConfig)
    lengths = []
    for seed in range(12):
        gapped, whole = (
            sketch(np.random.default_rng(seed), size, replace(config, gapped=share))[0] for share in (1, 0)
        )
        labels, count = ndimage.label((gapped[..., 0] > 200) & (whole[..., 0] < 128))
        boxes = ndimage.find_objects(labels)
        lengths.append(max((max(s.stop - s.start for s in box) for box in boxes), default=0) / size if count else 0)
    assert 0.05 < np.median(lengths) < 0.2


def test_what_the_page_cuts_is_closed_by_its_edge() -> None:
    touching = 0
    for seed in range(20):
        _, answer = drawn("border", seed)
        filled = answer[..., 0] < 128
        edge = np.concatenate([filled[0], filled[-1], filled[:, 0], filled[:, -1]])
        touching += edge.mean() > 0.05
    assert touching >= 14


def test_no_answer_colors_the_whole_page() -> None:
    for split in SKETCH_SPLITS:
        for seed in range(6):
            _, answer = drawn(split, seed, 64)
            assert (answer[..., 0] < 128).mean() < 0.98, (split, seed)


def test_an_inverted_page_is_dark_and_an_empty_one_mostly_paper() -> None:
    assert np.mean([drawn("inverted", seed)[0].mean() for seed in range(6)]) < 100
    assert np.mean([drawn("empty", seed)[1].mean() for seed in range(12)]) > 215


def test_paper_and_ink_vary_as_they_say() -> None:
    plain = drawn("details", 3)[0]
    assert len({tuple(color) for color in plain.reshape(-1, 3).tolist()}) <= 256
    photo = np.stack([drawn("photo", seed)[0] for seed in range(8)])
    assert np.median(photo.reshape(8, -1, 3).max(axis=1).astype(int) - photo.reshape(8, -1, 3).min(axis=1)) > 60
    colored = [drawn("marker", seed)[0] for seed in range(8)]
    assert np.mean([int((np.ptp(page, axis=-1) > 40).any()) for page in colored]) > 0.5


@pytest.mark.parametrize("field", [each.name for each in fields(SketchConfig) if each.name != "outlines"])
def test_probabilities_are_probabilities(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} must be in \[0, 1\]"):
        replace(PLAIN_SKETCHES, **{field: 1.5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"icons": 0.9, "symbols": 0.3}, "their sum"),
        ({"gapped": 0.5, "cut_gaps": 0, "bitten_gaps": 0, "large_gaps": 0, "dashes": 0}, "give one of"),
        ({"min_stroke": 0.05, "max_stroke": 0.01}, "above max_stroke"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAIN_SKETCHES, **options)  # type: ignore[arg-type]
