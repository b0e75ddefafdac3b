from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.sketches import sketch as sketches
from polyexport.data.sketches.gaps import Erasures, gaps_in
from polyexport.data.sketches.raster import Grid, erased, inked, outside_of
from polyexport.data.sketches.sketch import sketch
from polyexport.data.sketches.strokes import Stroke, densified
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


@pytest.mark.parametrize(
    ("split", "least", "most"), [("cut_gaps", 0.01, 0.06), ("bitten_gaps", 0.015, 0.117), ("large_gaps", 0.06, 0.16)]
)
@pytest.mark.parametrize("size", [64, 256])
def test_gaps_are_as_long_as_their_split_says(split: str, least: float, most: float, size: int) -> None:
    config = SPLITS[split].drawings
    assert isinstance(config, SketchConfig)
    largest = []
    for seed in range(12):
        erasures = captured_erasures(seed, size, config)
        lengths = [float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()) for points, _ in erasures.lines]
        lengths += [2 * radius for _, radius in erasures.bites]
        assert lengths
        assert max(lengths) <= most * size + 1.5
        largest.append(max(lengths) / size)
    assert least < np.median(largest) < most


def captured_erasures(seed: int, size: int, config: SketchConfig) -> Erasures:
    """Draw a sketch and return what was erased of it."""
    seen: list[Erasures] = []

    def capture(*arguments: Any) -> Erasures:
        seen.append(gaps_in(*arguments))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "gaps_in", capture)
        sketch(np.random.default_rng(seed), size, config)
    return seen[-1]


def share_of_opened(config: SketchConfig, seeds: int) -> float:
    """Return the share of sketches with gaps through which more than 1 % of the grid becomes outside."""
    before: list[NDArray[np.bool_]] = []
    after: list[NDArray[np.bool_]] = []

    def choose(*arguments: Any) -> Erasures:
        before.append(arguments[-1])
        return gaps_in(*arguments)

    def erase(ink: Image.Image, *arguments: Any) -> None:
        erased(ink, *arguments)
        after.append(outside_of(ink))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "gaps_in", choose)
        patch.setattr(sketches, "erased", erase)
        for seed in range(seeds):
            sketch(np.random.default_rng(seed), 64, config)
    return float(np.mean([(gone & ~was).mean() > 0.01 for was, gone in zip(before, after, strict=True)]))


@pytest.mark.parametrize("split", ["cut_gaps", "bitten_gaps", "large_gaps", "dashed"])
@pytest.mark.parametrize("kind", ["icons", "symbols", "letters", "outlines"])
def test_gaps_open_sketches_of_every_kind_of_subject(kind: str, split: str) -> None:
    config = SPLITS[split].drawings
    assert isinstance(config, SketchConfig)
    icons, symbols, letters = (float(kind == each) for each in ("icons", "symbols", "letters"))
    assert share_of_opened(replace(config, icons=icons, symbols=symbols, letters=letters), 30) >= 0.85


@pytest.mark.parametrize("kind", ["cut_gaps", "bitten_gaps", "large_gaps", "dashes"])
def test_gaps_are_in_lines_and_never_in_solid_parts(kind: str) -> None:
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    left, right = (densified(16 * corners + [x, 64], True, 0.9) for x in (30, 98))
    solid, line = Stroke(points=left, solid=1), Stroke(points=right)
    chosen = dict.fromkeys(("cut_gaps", "bitten_gaps", "large_gaps", "dashes"), 0.0) | {kind: 1.0}
    config = replace(PLAIN_SKETCHES, gapped=1, **chosen)  # type: ignore[arg-type]
    grid = Grid(size=128, scale=1, margin=1)
    for seed in range(5):
        for strokes in ([solid], [solid, line]):
            outside = outside_of(inked(grid, strokes, [3.0] * len(strokes), rounded=False))
            erasures = gaps_in(np.random.default_rng(seed), config, grid, strokes, [3.0] * len(strokes), outside)
            erased_at = [*(points for points, _ in erasures.lines), *(center[None] for center, _ in erasures.bites)]
            assert bool(erased_at) == (len(strokes) == 2)
            assert all((points[:, 0] > 64).all() for points in erased_at)


def test_dashes_leave_much_of_every_outline() -> None:
    config = SPLITS["dashed"].drawings
    assert isinstance(config, SketchConfig)
    kept = []
    for seed in range(30):
        dashed, whole = (
            sketches._drawn(np.random.default_rng(seed), 128, replace(config, gapped=share))[0] for share in (1, 0)
        )
        kept.append(float(dashed.sum() / whole.sum()))
    assert min(kept) > 0.35
    assert np.median(kept) < 0.9


def test_what_the_page_cuts_is_closed_by_its_edge() -> None:
    touching = 0
    for seed in range(20):
        _, answer = drawn("border", seed)
        filled = answer[..., 0] < 128
        edge = np.concatenate([filled[0], filled[-1], filled[:, 0], filled[:, -1]])
        touching += edge.mean() > 0.05
    assert touching >= 14


def test_no_answer_colors_the_whole_page() -> None:
    cases = [(split, seed) for split in SKETCH_SPLITS for seed in range(6)]
    cases.append(("border", 319))  # its first attempt does
    for split, seed in cases:
        _, answer = drawn(split, seed, 64)
        assert (255 - answer[..., 0].astype(float)).mean() / 255 <= 0.94, (split, seed)


def test_an_inverted_page_is_dark_and_an_empty_one_mostly_paper() -> None:
    assert np.mean([drawn("inverted", seed)[0].mean() for seed in range(6)]) < 100
    assert np.mean([drawn("empty", seed)[1].mean() for seed in range(12)]) > 215


def test_paper_and_ink_vary_as_they_say() -> None:
    def levels_of_the_paper(split: str) -> list[int]:
        """Return the spread of the levels outside of each answer."""
        pages = [drawn(split, seed) for seed in range(8)]
        return [int(np.ptp(image[answer.min(axis=-1) == 255])) for image, answer in pages]

    assert np.median(levels_of_the_paper("details")) == 0
    assert np.median(levels_of_the_paper("photo")) > 60
    assert np.median(levels_of_the_paper("ruled")) > 20
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
        ({"min_stroke": 0.0}, r"in \(0, max_stroke"),
        ({"min_stroke": 0.05, "max_stroke": 0.01}, r"in \(0, max_stroke"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAIN_SKETCHES, **options)  # type: ignore[arg-type]
