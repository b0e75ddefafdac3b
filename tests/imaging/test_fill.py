"""A coarse coverage and the ink of a drawing give the exact fill."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from polyexport.imaging.fill import fill_coverage, settled_coverage, settled_regions
from polyexport.imaging.ink import Ink, find_ink
from polyexport.imaging.reduction import reduced, sketched
from polyexport.imaging.votes import find_regions

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIZE, FINER = 160, 4


def shrunk(plane: Floats, side: int) -> Floats:
    size = (side * plane.shape[1] // max(plane.shape), side * plane.shape[0] // max(plane.shape))
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX))


def drawing(*, width: float = 4, gap: bool = False, dashed: bool = False) -> tuple[Plane, Floats]:
    """A smooth ellipse, and an open line beside it: uint8 [S, S, 3] and the exact coverage of its fill."""
    side = SIZE * FINER
    image, line = Image.new("L", (side, side), 255), Image.new("L", (side, side), 255)
    box, stroke = [side * 0.15, side * 0.2, side * 0.75, side * 0.85], round(width * FINER)
    ImageDraw.Draw(image).ellipse(box, outline=0, width=stroke)
    ImageDraw.Draw(line).line([side * 0.85, side * 0.1, side * 0.92, side * 0.9], fill=0, width=stroke)
    paper, _ = ndimage.label(np.asarray(image) == 255)
    filled = (paper != paper[0, 0]) | (np.asarray(line) == 0)
    if gap:
        ImageDraw.Draw(image).ellipse([side * 0.12, side * 0.45, side * 0.2, side * 0.56], fill=255)
    if dashed:
        for start in range(0, 360, 24):
            ImageDraw.Draw(image).pieslice([0, 0, side, side], start, start + 13, fill=255)
    both = np.minimum(np.asarray(image), np.asarray(line)).reshape(SIZE, FINER, SIZE, FINER).mean((1, 3))
    truth = filled.reshape(SIZE, FINER, SIZE, FINER).mean((1, 3), dtype=np.float32)
    return np.repeat(np.rint(both).astype(np.uint8)[..., None], 3, axis=2), truth


def filled(pixels: Plane, coarse: Floats) -> Plane:
    ink = find_ink(pixels)
    assert ink is not None
    coarse_ink = (255 - reduced(255 - ink.coverage, coarse.shape, ink).astype(np.float32)) / np.float32(255)
    return fill_coverage(find_regions(ink), coarse, coarse_ink)


def error(found: Plane, truth: Floats) -> Floats:
    return np.abs(found / np.float32(255) - truth)


@pytest.mark.parametrize("side", [40, 80, 160])
def test_a_coarse_fill_gets_the_exact_edge_of_the_ink(side: int) -> None:
    pixels, truth = drawing()
    wrong = error(filled(pixels, shrunk(truth, side)), truth)
    assert wrong.max() <= 0.1  # the supersampled truth and drawing round apart
    assert (wrong < 0.005).mean() > 0.999


def test_the_network_s_own_soft_picture_is_far_from_it() -> None:
    pixels, truth = drawing()
    soft = np.asarray(Image.fromarray(shrunk(truth, 40)).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    exact = error(filled(pixels, shrunk(truth, 40)), truth)
    assert (exact**2).mean() * 1000 < ((soft - truth) ** 2).mean()


@pytest.mark.parametrize("kind", ["gap", "dashed"])
def test_an_outline_with_gaps_is_filled_up_to_a_smooth_seam(kind: str) -> None:
    pixels, truth = drawing(gap=kind == "gap", dashed=kind == "dashed")
    wrong = error(filled(pixels, shrunk(truth, 80)), truth)
    assert (wrong > 0.5).mean() < 0.001
    assert (wrong**2).mean() < 4e-4


def test_a_white_patch_in_a_closed_shape_and_a_patch_of_color_on_paper_are_mended() -> None:
    pixels, truth = drawing()
    coarse = shrunk(truth, 80).copy()
    coarse[40:52, 30:42] = 0
    coarse[2:9, 2:9] = 1
    assert error(filled(pixels, coarse), truth).max() <= 0.1


def test_a_white_patch_in_a_shape_with_a_gap_is_mended() -> None:
    pixels, truth = drawing(gap=True)
    coarse = shrunk(truth, 80).copy()
    coarse[36:44, 30:38] = 0
    assert (error(filled(pixels, coarse), truth) > 0.5).mean() < 0.001


def test_noise_of_the_network_leaves_paper_white_and_shapes_full() -> None:
    pixels, truth = drawing(gap=True)
    coarse = shrunk(truth, 80)
    noise = np.random.default_rng(0).normal(0, 0.08, coarse.shape)
    found = filled(pixels, np.clip(coarse + noise, 0, 1).astype(np.float32))
    far = ndimage.binary_erosion(truth == 0, iterations=6)
    assert not found[far].any()
    assert (found[ndimage.binary_erosion(truth == 1, iterations=6)] == 255).all()


def test_a_shape_that_the_page_s_edge_cuts_is_closed_by_it() -> None:
    pixels, truth = drawing()
    cut, kept = np.ascontiguousarray(pixels[:, 70:]), np.ascontiguousarray(truth[:, 70:])
    assert error(filled(cut, shrunk(kept, 80)), kept).max() <= 0.1


def ring(side: int, radius: int) -> Plane:
    y, x = np.mgrid[:side, :side]
    distance = np.hypot(y - side / 2, x - side / 2)
    page = np.full((side, side, 3), 255, np.uint8)
    page[np.abs(distance - radius) < 2] = 0
    return page


def test_what_the_drawing_s_ink_encloses_is_filled_although_the_network_leaves_it_empty() -> None:
    pixels = ring(90, 30)
    coarse = (pixels[..., 0] == 0).astype(np.float32)
    assert (filled(pixels, coarse)[45, 20:70] == 255).all()


def test_what_other_ink_encloses_stays_empty() -> None:
    pixels = ring(90, 30)
    assert not filled(pixels, np.zeros((90, 90), np.float32)).any()
    half = (pixels[..., 0] == 0).astype(np.float32)
    half[:, 45:] = 0  # a line of the paper closes what the drawing leaves open
    assert not filled(pixels, half)[45, 20:70].any()


def test_the_outline_is_whole_where_the_network_bites_a_piece_off() -> None:
    pixels, truth = drawing()
    coarse = shrunk(truth, 80).copy()
    coarse[30:42, 4:18] = 0
    assert error(filled(pixels, coarse), truth).max() <= 0.1


def test_a_bay_at_the_page_s_edge_in_a_shape_that_it_cuts_is_mended() -> None:
    pixels, truth = drawing(gap=True)
    cut, kept = np.ascontiguousarray(pixels[:, :70]), np.ascontiguousarray(truth[:, :70])
    coarse = shrunk(kept, 80).copy()
    coarse[38:48, -4:] = 0
    assert (error(filled(cut, coarse), kept) > 0.5).mean() < 0.001


def test_ink_that_the_network_leaves_out_stays_paper() -> None:
    pixels, truth = drawing()
    with_dust = pixels.copy()
    with_dust[6:9, 20:23] = 0
    found = filled(with_dust, shrunk(truth, 40))
    assert not found[:14, :40].any()


def test_a_page_without_an_outline_is_never_filled_as_a_whole() -> None:
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[20, 10:50] = 0
    found = filled(pixels, np.ones((64, 64), np.float32))
    assert found[20, 30] == 255
    assert not found[40:].any()


def test_a_thin_line_between_fill_and_paper_has_no_light_rim() -> None:
    pixels, truth = drawing(width=1)
    assert (error(filled(pixels, shrunk(truth, 80)), truth) ** 2).mean() < 1e-4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_any_ink_and_any_coverage_give_a_plane_of_the_picture_s_size(
    height: int, width: int, side: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    ink = Ink(
        coverage=np.where(rng.random((height, width)) < share, rng.integers(0, 256, (height, width)), 0).astype(
            np.uint8
        )
    )
    size = (min(height, side), min(width, side))
    coarse, coarse_ink = (rng.random(size, np.float32) for _ in range(2))
    found = fill_coverage(find_regions(ink), coarse, coarse_ink)
    assert found.shape == (height, width)
    assert found.dtype == np.uint8
    empty = fill_coverage(find_regions(ink), np.zeros(size, np.float32), coarse_ink)
    assert not (empty[ink.coverage == 0] > 0).sum() > height * width / 2


def test_a_page_is_never_filled_as_a_whole() -> None:
    """A frame at the page's edge encloses everything; bricks leave hardly anything else."""
    frame = Image.new("L", (SIZE, SIZE), 255)
    ImageDraw.Draw(frame).rectangle([0, 0, SIZE - 1, SIZE - 1], outline=0, width=4)
    pixels = np.repeat(np.asarray(frame)[..., None], 3, axis=2)
    assert not filled(pixels, np.ones((40, 40), np.float32)).any()
    smaller = np.pad(pixels[4:-4, 4:-4], ((4, 4), (4, 4), (0, 0)), constant_values=255).copy()
    smaller[4:-4, [4, -5]] = smaller[[4, -5], 4:-4] = 0
    assert (filled(smaller, np.ones((40, 40), np.float32)) > 127).mean() > 0.8


def settled(pixels: Plane, coarse: Floats) -> Plane | None:
    """The fill that a first look settles."""
    ink = find_ink(pixels)
    assert ink is not None
    coarse_ink = (255 - sketched(255 - ink.coverage, coarse.shape, ink).astype(np.float32)) / np.float32(255)
    regions = find_regions(ink)
    found = settled_regions(regions, coarse, coarse_ink)
    return None if found is None else settled_coverage(regions, found)


@pytest.mark.parametrize("side", [20, 40, 80, 160])
@pytest.mark.parametrize("width", [2, 4])
def test_a_first_look_settles_a_drawing_without_gaps(side: int, width: float) -> None:
    pixels, truth = drawing(width=width)
    found = settled(pixels, np.maximum(shrunk(truth, side), sketched_ink(pixels, side)))
    assert found is not None
    assert np.array_equal(found, filled(pixels, shrunk(truth, 80)))


def sketched_ink(pixels: Plane, side: int) -> Floats:
    ink = find_ink(pixels)
    assert ink is not None
    size = shrunk(pixels[..., 0].astype(np.float32), side).shape
    return (255 - sketched(255 - ink.coverage, size, ink).astype(np.float32)) / np.float32(255)


@pytest.mark.parametrize("kind", ["gap", "dashed"])
@pytest.mark.parametrize("side", [40, 80])
def test_a_first_look_settles_no_outline_with_gaps(kind: str, side: int) -> None:
    pixels, truth = drawing(gap=kind == "gap", dashed=kind == "dashed")
    assert settled(pixels, shrunk(truth, side)) is None


def test_a_first_look_leaves_votes_of_both_kinds_in_doubt() -> None:
    pixels, truth = drawing()
    coarse = shrunk(truth, 40).copy()
    coarse[16:24, 12:20] = 0
    assert settled(pixels, coarse) is None


def test_a_first_look_leaves_ink_in_doubt_that_the_network_leaves_out() -> None:
    pixels, truth = drawing()
    assert settled(pixels, np.maximum(shrunk(truth, 40), sketched_ink(pixels, 40))) is not None
    pixels[6:9, 20:23] = 0
    assert settled(pixels, shrunk(truth, 40)) is None


def test_a_first_look_leaves_paper_in_doubt_that_a_line_across_the_page_cuts_off() -> None:
    pixels, truth = drawing()
    cut, kept = np.ascontiguousarray(pixels[:, 70:]), np.ascontiguousarray(truth[:, 70:])
    empty = np.where(find_ink(cut).coverage > 0, kept, 0)  # type: ignore[union-attr]
    assert settled(cut, shrunk(kept, 40)) is not None
    assert settled(cut, shrunk(empty.astype(np.float32), 40)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_first_look_at_anything_settles_every_region_or_none(
    height: int, width: int, side: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    inked = rng.random((height, width)) < share
    regions = find_regions(Ink(coverage=inked.astype(np.uint8) * np.uint8(255)))
    size = (min(height, side), min(width, side))
    coarse, coarse_ink = rng.random(size).astype(np.float32).round(), rng.random(size).astype(np.float32).round()
    found = settled_regions(regions, coarse, coarse_ink)
    if found is not None:
        assert found.shape == (regions.count + 1,)
        drawn = settled_coverage(regions, found)
        assert not drawn.any() or (drawn[inked] == 255).all() or regions.count == 0
