"""Tiles of canvases: where they lie, and that their outputs together are that of the whole canvas."""

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyexport.errors import UsageError
from polyexport.model.canvas import CanvasRule
from polyexport.model.locality import Locality
from polyexport.model.result import ResultKind
from polyexport.model.tile_choice import choose_tiles
from polyexport.model.tile_wish import AUTO_TILES, TileWish
from polyexport.model.tiles import TileRule, rows_of, spans, tiled_rows

TABLE = json.loads(Path(__file__).with_name("canvas_cases.json").read_text())
Pixels = NDArray[np.uint8]


@st.composite
def rules(draw: st.DrawFn, /, **entries: Any) -> TileRule:
    """Any rule of a small network: sides and overlaps in multiples of 1 to 8."""
    multiple = draw(st.sampled_from((1, 2, 4, 6, 8)))
    overlap = draw(st.integers(0, 4))
    side = draw(st.integers(overlap + 1, overlap + 8))
    return TileRule(side=side * multiple, overlap=overlap * multiple, multiple=multiple, **entries)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def mean(pixels: Pixels, radius: int, scale: Fraction = Fraction(1)) -> Pixels:
    """The operation of the table: rounded down means of squares of pixels, clamped to the picture, at a scale."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), mode="edge").astype(np.int64)
    extent = 2 * radius + 1
    places = [(down, across) for down in range(extent) for across in range(extent)]
    total = sum(padded[down : down + height, across : across + width] for down, across in places)
    found: Pixels = (np.asarray(total) // extent**2).astype(np.uint8)
    if scale < 1:
        return found[:: scale.denominator, :: scale.denominator]
    return found.repeat(scale.numerator, axis=0).repeat(scale.numerator, axis=1)


def run_of(radius: int, scale: Fraction = Fraction(1)) -> Callable[[list[tuple[Pixels, ...]]], list[Pixels]]:
    return lambda tiles: [mean(tile, radius, scale) for tile, *_ in tiles]


def tiled(pixels: Pixels, rule: TileRule, radius: int, scale: Fraction = Fraction(1)) -> Pixels:
    height, width = pixels.shape[:2]
    rows = list(tiled_rows(rows_of([pixels]), height, width, rule, run_of(radius, scale), scale))
    return np.concatenate(rows)


@pytest.mark.parametrize("case", TABLE["tiles"], ids=lambda case: f"{case['length']} in {case['side']}")
def test_the_table_of_tiles(case: dict[str, Any]) -> None:
    rule = TileRule(side=case["side"], overlap=case["overlap"], multiple=case["multiple"])
    found = [[one.start, one.stop, one.first, one.last] for one in spans(case["length"], rule)]
    assert found == case["spans"]


def name_of(case: dict[str, Any]) -> str:
    ways = f"{case['side']}-{case['overlap']} {case['scale']}"
    return f"{case['width']}x{case['height']} {ways}{' blended' if case['blended'] else ''}"


@pytest.mark.parametrize("case", TABLE["tiled_images"], ids=name_of)
def test_the_table_of_images_in_tiles(case: dict[str, Any]) -> None:
    scale, radius = Fraction(case["scale"]), case["radius"]
    sizes = {name: case[name] for name in ("side", "overlap", "multiple")}
    rule = CanvasRule(
        mode="native",
        size=case["multiple"],
        multiple=case["multiple"],
        white=False,
        tiles=TileRule(**sizes, blended=case["blended"]),
    )
    row, column, channel = np.ogrid[: case["height"], : case["width"], :3]
    canvas = rule.place(((7 * row + 13 * column + 31 * channel) % 256).astype(np.uint8))
    assert canvas.tiles is not None
    result = canvas.restore(tiled(canvas.pixels, canvas.tiles, radius, scale))
    assert hashlib.sha256(result.tobytes()).hexdigest() == case["result_sha256"]
    whole = canvas.restore(mean(canvas.pixels, radius, scale))
    assert np.array_equal(result, whole) == case["whole"]


@given(st.integers(1, 40), rules())
def test_the_spans_of_an_axis_cover_it_once_and_can_be_run(length: int, rule: TileRule) -> None:
    length *= rule.multiple
    found = spans(length, rule)

    assert found[0].start == found[0].first == 0
    assert found[-1].stop == found[-1].last == length
    assert all(one.last == other.first for one, other in itertools.pairwise(found))
    assert all(one.start <= one.first < one.last <= one.stop for one in found)
    assert {one.stop - one.start for one in found} == {min(rule.side, length)}
    assert all(place % rule.multiple == 0 for one in found for place in (one.start, one.stop, one.first, one.last))
    # What is kept is half an overlap away from where a tile was cut off, as far as that is a multiple.
    margin = rule.overlap // 2 // rule.multiple * rule.multiple
    assert all(one.first - one.start >= margin for one in found[1:])
    assert all(one.stop - one.last >= margin for one in found[:-1])
    assert len(found) == 1 or found[-2].stop < length  # no tile is superfluous


@given(st.integers(1, 12), st.integers(1, 12), st.booleans(), st.data())
def test_tiles_of_a_network_that_changes_nothing_are_the_canvas(
    height: int, width: int, blended: bool, data: st.DataObject
) -> None:
    rule = data.draw(rules(blended=blended))
    pixels = noise(height * rule.multiple, width * rule.multiple, data.draw(st.sampled_from((1, 3, 4))))
    assert np.array_equal(tiled(pixels, rule, radius=0), pixels)


@given(st.integers(1, 16), st.integers(1, 16), st.integers(0, 3), st.sampled_from(("1/2", "1", "2")), st.data())
def test_tiles_whose_overlap_is_twice_the_reach_are_the_whole(
    height: int, width: int, radius: int, scale: str, data: st.DataObject
) -> None:
    multiple, ratio = data.draw(st.sampled_from((2, 4))), Fraction(scale)
    overlap = 2 * -(-radius // multiple) * multiple
    side = overlap + multiple * data.draw(st.integers(1, 6))
    rule = TileRule(side=side, overlap=overlap, multiple=multiple)
    pixels = noise(height * multiple, width * multiple)
    assert np.array_equal(tiled(pixels, rule, radius, ratio), mean(pixels, radius, ratio))


def test_tiles_that_overlap_by_too_little_are_not_the_whole() -> None:
    pixels = noise(64, 64)
    rule = TileRule(side=24, overlap=4, multiple=2)
    whole = mean(pixels, radius=3)
    cut = tiled(pixels, rule, radius=3)
    assert not np.array_equal(cut, whole)
    assert np.array_equal(cut[:18, :18], whole[:18, :18])  # what the first tile saw all surroundings of


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(("1/2", "1", "2")), st.booleans(), st.data())
def test_rows_are_asked_for_from_top_to_bottom_and_given_so(
    height: int, width: int, scale: str, blended: bool, data: st.DataObject
) -> None:
    rule = data.draw(rules(blended=blended))
    rule = TileRule(side=2 * rule.side, overlap=2 * rule.overlap, multiple=2 * rule.multiple, blended=blended)
    pixels = noise(height * rule.multiple, width * rule.multiple)
    second = noise(len(pixels), pixels.shape[1], 1, seed=1)
    asked: list[tuple[int, int]] = []

    def rows(first: int, end: int) -> Sequence[Pixels]:
        asked.append((first, end))
        return pixels[first:end], second[first:end]

    def run(tiles: list[tuple[Pixels, ...]]) -> list[Pixels]:
        assert all(other.shape == (*tile.shape[:2], 1) for tile, other in tiles)
        assert len({tile.shape for tile, _ in tiles}) == 1
        return run_of(0, ratio)([(tile ^ other,) for tile, other in tiles])

    ratio = Fraction(scale)
    bands = list(tiled_rows(rows, len(pixels), pixels.shape[1], rule, run, ratio))
    assert np.array_equal(np.concatenate(bands), mean(pixels ^ second, 0, ratio))
    assert asked == sorted(set(asked))
    assert {end - first for first, end in asked} == {min(rule.side, len(pixels))}
    assert asked[-1][1] == len(pixels)
    # A band of output is no longer than what one row of tiles gives.
    assert max(map(len, bands)) <= rule.side * ratio


def test_blended_tiles_change_from_one_into_the_other_without_a_seam() -> None:
    numbers = iter((0, 100, 200))
    rule = TileRule(side=20, overlap=10, multiple=1, blended=True)

    def run(tiles: list[tuple[Pixels, ...]]) -> list[Pixels]:
        return [np.full_like(tile, next(numbers)) for tile, *_ in tiles]

    pixels = noise(20, 40)
    [made] = tiled_rows(rows_of([pixels]), 20, 40, rule, run, Fraction(1))
    steps = np.diff(made[0, :, 0].astype(int))
    assert made[0, 0, 0] == 0
    assert made[0, -1, 0] == 200
    assert steps.min() >= 0
    assert steps.max() <= 10


@pytest.mark.parametrize(
    ("side", "overlap", "multiple", "said"),
    [
        (30, 0, 4, "multiples of 4; give --tile 28 or 32"),
        (2, 0, 4, "multiples of 4; give --tile 4 or 8"),
        (0, 0, 4, "tiles of 0 pixels"),
        (32, 6, 4, "which must be a multiple of 4; give --overlap 8"),
        (32, -4, 4, "overlap by -4 pixels"),
        (32, 32, 4, "not larger than the 32 that they share"),
        (32, 64, 4, "give --tile 128 or more"),
    ],
)
def test_a_rule_that_no_canvas_can_be_cut_by_is_refused(side: int, overlap: int, multiple: int, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        TileRule(side=side, overlap=overlap, multiple=multiple)
    assert said in str(refused.value)


LOCAL = Locality(kind="local", reach=6, bytes_per_pixel=1000)
GLOBAL = Locality(kind="global", nodes=("GlobalAveragePool pool",))


def chosen(wish: TileWish = AUTO_TILES, locality: Locality | None = LOCAL, **changes: Any) -> TileRule | None:
    entries: dict[str, Any] = {
        "kind": "picture",
        "multiple": 4,
        "smallest": 4,
        "native": True,
        "fixed_size": False,
        "most_pixels": 2048**2,
    }
    return choose_tiles(wish, locality, **(entries | changes))


@pytest.mark.parametrize(
    ("wish", "changes", "said"),
    [
        (TileWish(tile=16), {}, "tiles of 16 pixels are not larger than the 16 that they share"),
        (TileWish(tile=16), {}, "depends on 13x13 pixels; give --tile 36 or more"),
        (TileWish(tile=64, overlap=64), {}, "not larger than the 64"),
        (TileWish(tile=30), {"locality": LOCAL}, "give --tile 28 or 32"),
        (TileWish(tile=64, overlap=6), {"locality": GLOBAL}, "give --overlap 8"),
        (TileWish(tile=64, overlap=6), {}, "give --overlap 8"),
        (TileWish(tile=64), {"kind": "fill"}, "a fill cannot be cut into tiles"),
        (TileWish(tile=64), {"fixed_size": True}, "images of one size alone"),
        (TileWish(tile=64), {"native": False}, "add --size native"),
        (TileWish(tile=20), {"smallest": 30}, "smaller than the 30 that the network needs; give --tile 32 or more"),
        (TileWish(tile=1), {}, "tiles of 1 pixels are smaller than the 4 that the network needs; give --tile 4"),
    ],
)
def test_tiles_that_a_network_cannot_be_cut_into_are_refused(
    wish: TileWish, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(wish, **changes)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_wish_that_makes_no_sense_is_refused() -> None:
    for overlap in (0, 8):
        for name in ("auto", "off"):
            with pytest.raises(UsageError, match=r"--overlap was given without.*add --tile N"):
                TileWish.parse(name, overlap)
    for side in (0, -4):
        with pytest.raises(UsageError, match="give --tile auto, off or a number of pixels"):
            TileWish(tile=side)
    for text in ("", "Auto", "12.5", "-1", "1e3", "1234567", "٣٢"):
        with pytest.raises(UsageError, match="unknown tile"):
            TileWish.parse(text, None)
    assert TileWish.parse("auto", None) == AUTO_TILES
    assert TileWish.parse("256", 16) == TileWish(tile=256, overlap=16)
    assert TileWish.parse("off", None) == TileWish(tile="off")


def test_tiles_of_a_local_network_overlap_by_twice_its_reach() -> None:
    assert chosen(TileWish(tile=64)) == TileRule(side=64, overlap=16, multiple=4)
    assert chosen(TileWish(tile=64, overlap=17)) == TileRule(side=64, overlap=24, multiple=4)
    # Less is what a user asked for, and is blended; so is what no overlap makes exact.
    assert chosen(TileWish(tile=64, overlap=8)) == TileRule(side=64, overlap=8, multiple=4, exact=False, blended=True)
    for locality in (GLOBAL, None):
        expected = TileRule(side=64, overlap=16, multiple=4, exact=False, blended=True)
        assert chosen(TileWish(tile=64), locality) == expected
    labels = chosen(TileWish(tile=64), GLOBAL, kind="labels")
    assert labels is not None
    assert not labels.blended  # labels between two others are others
    assert chosen(TileWish(tile=4), Locality(kind="local")) == TileRule(side=4, overlap=0, multiple=4)


def test_auto_cuts_what_does_not_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.model.tile_choice.granted_memory", lambda: 8 * 1000 * 300**2)
    assert chosen() == TileRule(side=300, overlap=16, multiple=4, above=300**2)
    monkeypatch.setattr("polyexport.model.tile_choice.granted_memory", lambda: 1 << 50)
    assert chosen() == TileRule(side=512, overlap=16, multiple=4, above=2048**2)
    monkeypatch.setattr("polyexport.model.tile_choice.granted_memory", lambda: 0)
    assert chosen() == TileRule(side=80, overlap=16, multiple=4, above=0)
    assert chosen(smallest=99) == TileRule(side=100, overlap=16, multiple=4, above=0)
    assert chosen(TileWish(tile="off")) is None
    kinds: tuple[ResultKind, ...] = ("picture", "mask", "alpha", "labels")
    assert all(chosen(kind=kind) == TileRule(side=80, overlap=16, multiple=4) for kind in kinds)
    nothing: tuple[dict[str, Any], ...] = (
        {"locality": GLOBAL},
        {"locality": None},
        {"kind": "fill"},
        {"fixed_size": True},
        {"native": False},
    )
    assert all(chosen(**changes) is None for changes in nothing)


def test_a_picture_of_one_pixel_is_one_tile() -> None:
    rule = chosen(TileWish(tile=64))
    assert rule is not None
    assert not rule.cuts(4, 4)
    canvases = CanvasRule(mode="native", size=4, multiple=4, white=False, tiles=rule)
    assert canvases.place(noise(1, 1)).tiles is None
    assert canvases.place(noise(1, 65)).tiles is rule
    assert len(spans(4, rule)) == 1
    assert np.array_equal(tiled(noise(1, 1), TileRule(side=1, overlap=0, multiple=1), 3), noise(1, 1))
