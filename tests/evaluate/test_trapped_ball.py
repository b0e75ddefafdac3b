import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.shapes import SHAPES
from polyexport.evaluate.floodfill import flood_fill
from polyexport.evaluate.trapped_ball import trapped_ball_fill
from polyexport.imaging.psnr import psnr_db

CLEAN = DrawingConfig(antialiased=0, gapped=0, noisy=0, tinted=0, jpeg=0)
RED = (255, 0, 0)


def page(height: int = 96, width: int = 96) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), (255, 255, 255))
    return image, ImageDraw.Draw(image)


def filled(image: Image.Image) -> np.ndarray:
    """Pixels that took the color, bool [H, W]."""
    mask: np.ndarray = trapped_ball_fill(np.asarray(image), RED)[..., 1] < 128
    return mask


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_clean_drawing_is_filled_as_a_flood_fill_does_it(shape: str) -> None:
    drawing = draw(np.random.default_rng(4), 96, CLEAN, shape=shape, color=(9, 8, 7))
    assert np.array_equal(trapped_ball_fill(drawing.image, (9, 8, 7)), flood_fill(drawing.image, (9, 8, 7)))


@pytest.mark.parametrize("gap", [1, 2, 5, 10, 15])
def test_the_smallest_ball_that_fits_closes_a_gap_straight(gap: int) -> None:
    image, pen = page()
    pen.rectangle((20, 20, 75, 75), outline=0, width=3)
    pen.rectangle((40, 20, 40 + gap - 1, 22), fill=(255, 255, 255))
    wanted = np.zeros((96, 96), bool)
    wanted[20:76, 20:76] = True
    assert np.count_nonzero(filled(image) ^ wanted) <= (0 if gap <= 5 else gap)  # at most the outermost row
    assert flood_fill(np.asarray(image), RED)[50, 50].tolist() == [255, 255, 255]


def test_a_side_that_is_missing_stays_open() -> None:
    image, pen = page()
    pen.line([(20, 20), (20, 75), (75, 75), (75, 20)], fill=0, width=3)
    assert not filled(image)[50, 50]


def test_two_gaps_of_different_widths_are_closed_each_by_its_ball() -> None:
    image, pen = page(96, 200)
    for left, gap in ((10, 2), (110, 12)):
        pen.rectangle((left, 10, left + 70, 80), outline=0, width=3)
        pen.rectangle((left + 30, 10, left + 29 + gap, 12), fill=(255, 255, 255))
    mask = filled(image)
    assert mask[50, 45]
    assert mask[50, 145]
    assert not mask[50, 95]  # between the two
    assert not mask[:, :8].any()


@pytest.mark.parametrize("box", [(30, 30, 120, 70), (-30, 10, 60, 80), (20, 40, 70, 140)])
def test_the_edge_of_the_page_closes_a_shape(box: tuple[int, int, int, int]) -> None:
    image, pen = page()
    pen.ellipse(box, outline=0, width=3)
    solid, inside = page()
    inside.ellipse(box, fill=0)
    wanted = np.asarray(solid)[..., 0] == 0
    assert np.mean(filled(image) == wanted) > 0.99


def test_the_space_between_closed_shapes_is_not_enclosed() -> None:
    image, pen = page(120, 120)
    for left, top in ((6, 6), (64, 6), (6, 64), (64, 64)):
        pen.rectangle((left, top, left + 50, top + 50), outline=0, width=2)
        pen.rectangle((left + 12, top + 12, left + 50, top + 50), fill=(255, 255, 255))  # the corners face the middle
        pen.line([(left + 12, top + 50), (left + 12, top + 12), (left + 50, top + 12)], fill=0, width=2)
    for left in (6, 64):
        pen.ellipse((left, 40, left + 46, 80), outline=0, width=2)
    assert not filled(image)[60, 58]


def test_dust_encloses_nothing() -> None:
    image, pen = page(128, 128)
    pen.rectangle((50, 50, 80, 80), outline=0, width=3)
    for x, y in np.random.default_rng(3).integers(0, 128, (150, 2)):
        pen.point((int(x), int(y)), fill=0)
    wanted = np.zeros((128, 128), bool)
    wanted[50:81, 50:81] = True
    assert np.mean(filled(image) != wanted) < 0.003


def test_a_line_across_the_page_encloses_nothing() -> None:
    image, pen = page()
    pen.line([(0, 30), (95, 40)], fill=0, width=3)
    assert filled(image).mean() < 0.06


def test_shadows_noise_and_gray_pencil_are_told_from_ink() -> None:
    image, pen = page(128, 128)
    pen.ellipse((30, 30, 100, 100), outline=(110, 110, 110), width=4)
    light = np.linspace(0.55, 1, 128)[None, :, None] * np.linspace(1, 0.8, 128)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 4, (128, 128, 1))
    photo = np.clip(np.asarray(image) * light + noise, 0, 255).astype(np.uint8)
    solid, inside = page(128, 128)
    inside.ellipse((30, 30, 100, 100), fill=RED)
    assert psnr_db(trapped_ball_fill(photo, RED), np.asarray(solid)) > 25
    assert psnr_db(flood_fill(photo, RED), np.asarray(solid)) < 15


def test_smooth_edges_keep_their_coverage() -> None:
    drawing = draw(np.random.default_rng(1), 96, DrawingConfig(antialiased=1, gapped=0, noisy=0, tinted=0, jpeg=0))
    assert psnr_db(trapped_ball_fill(drawing.image, drawing.color), drawing.colored) > 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (7, 1), (1, 20000), (40, 30)])
@pytest.mark.parametrize("level", [0, 60, 200, 255])
def test_a_page_of_one_shade_stays_white(shape: tuple[int, int], level: int) -> None:
    result = trapped_ball_fill(np.full((*shape, 3), level, np.uint8), RED)
    assert (result == 255).all()
    assert result.shape == (*shape, 3)


def test_a_blank_page_with_noise_stays_white() -> None:
    noise = np.random.default_rng(0).normal(200, 3, (64, 64, 3)).astype(np.uint8)
    assert (trapped_ball_fill(noise, RED) == 255).all()


def test_light_lines_on_a_dark_page_are_ink() -> None:
    drawing = draw(np.random.default_rng(4), 96, CLEAN, shape="star", color=RED)
    assert np.array_equal(trapped_ball_fill(255 - drawing.image, RED), trapped_ball_fill(drawing.image, RED))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
        lambda shape: arrays(np.uint8, (*shape, 3), elements=st.sampled_from([0, 3, 128, 250, 255]))
    ),
    st.tuples(*[st.integers(0, 255)] * 3),
)
def test_every_picture_gets_shades_between_white_and_the_color(image: np.ndarray, rgb: tuple[int, int, int]) -> None:
    result = trapped_ball_fill(image, rgb)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert (result >= np.array(rgb)).all()
    assert np.array_equal(result, trapped_ball_fill(image, rgb))
