import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from polyexport.data.drawings import draw
from polyexport.imaging.color import parse_color
from polyexport.imaging.matte import on_white, transparent, with_alpha
from polyexport.imaging.pixels import Pixels
from polyexport.model.model import Model

SIZE, FINER = 96, 8
DARK = (20, 30, 45)


def over(rgba: NDArray[np.uint8], background: tuple[int, int, int]) -> Pixels:
    alpha = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * alpha + np.array(background) * (1 - alpha)).astype(np.uint8)


def difference(one: Pixels, other: Pixels) -> NDArray[np.int16]:
    levels: NDArray[np.int16] = np.abs(one.astype(np.int16) - other)
    return levels


def star(fill: str, paper: tuple[int, int, int], *, outline: str | None = None, width: int = 3) -> Pixels:
    """An anti-aliased star in the middle: an eighth of a pixel is the finest part."""
    image = Image.new("RGB", (SIZE * FINER, SIZE * FINER), paper)
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    radii = np.where(np.arange(10) % 2, 0.2, 0.45) * SIZE * FINER
    middle = SIZE * FINER / 2
    corners = [(middle + r * np.sin(a), middle - r * np.cos(a)) for r, a in zip(radii, angles, strict=True)]
    ImageDraw.Draw(image).polygon(corners, fill=fill, outline=outline or fill, width=width * FINER)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


def flooded(image: Pixels) -> NDArray[np.bool_]:
    """The paper, as pillow's own flood fill finds it."""
    mask = (image.min(axis=2) >= 252).astype(np.uint8)
    framed = Image.fromarray(np.pad(mask, 1, constant_values=1)).copy()
    ImageDraw.floodfill(framed, (0, 0), 2)
    found: NDArray[np.bool_] = np.asarray(framed) == 2
    return found[1:-1, 1:-1]


@st.composite
def images(draw: st.DrawFn) -> Pixels:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    levels = draw(st.lists(st.integers(0, 255), min_size=1, max_size=6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Mostly white, so that paper winds.
    gray = generator.choice(np.array([*levels, 255, 255, 255, 254], np.uint8), (height, width, 1))
    return np.where(gray > 253, gray, generator.choice(np.array(levels, np.uint8), (height, width, 3)))


@given(images())
def test_over_white_it_is_the_image_again(image: Pixels) -> None:
    before = image.copy()
    rgba = transparent(image)
    assert rgba.shape == (*image.shape[:2], 4)
    assert rgba.dtype == np.uint8
    assert difference(over(rgba, (255, 255, 255)), image).max() <= 1
    assert np.array_equal(image, before)
    composited = Image.alpha_composite(Image.new("RGBA", image.shape[1::-1], "white"), Image.fromarray(rgba))
    assert difference(np.asarray(composited.convert("RGB")), image).max() <= 1


@given(images())
def test_paper_is_what_a_flood_fill_finds(image: Pixels) -> None:
    alpha = transparent(image)[..., 3]
    paper = flooded(image)
    assert (alpha[paper] <= 3).all()
    assert (alpha[~paper] > 3).all()


@pytest.mark.parametrize("fill", ["tomato", "yellow", "pink", "black", "lightyellow", "#7f7f7f"])
def test_a_smooth_edge_has_no_white_halo(fill: str) -> None:
    """Over a dark background it looks as if it had been drawn there."""
    rgba = transparent(star(fill, (255, 255, 255)))
    ideal = star(fill, DARK)
    gap = difference(over(rgba, DARK), ideal)
    halo = difference(star(fill, (255, 255, 255)), ideal)[rgba[..., 3] < 255]
    assert halo.max() > 150
    # A pale fill leaves few levels to tell alpha by; a sharp tip has no solid pixel.
    assert np.percentile(gap[(rgba[..., 3] > 0) & (rgba[..., 3] < 255)], 95) <= 16
    assert gap.mean() < 0.5


def test_what_an_outline_encloses_is_opaque() -> None:
    rgba = transparent(star("white", (255, 255, 255), outline="black"))
    inside = star("black", (255, 255, 255))[..., 0] == 0
    edge = star("white", (255, 255, 255), outline="black")[..., 0] < 255
    assert (rgba[inside & ~edge] == 255).all()
    assert (rgba[48, 48] == 255).all()
    assert (rgba[0, 0] == (255, 255, 255, 0)).all()
    halo = over(rgba, (0, 0, 0))[~inside]
    assert np.percentile(halo, 95) <= 8


def test_an_outline_of_single_pixels_is_closed() -> None:
    image = np.full((9, 9, 3), 255, np.uint8)
    for step in range(5):  # a diamond whose pixels touch at their corners
        image[4 - step, step] = image[4 + step, step] = image[4 - step, 8 - step] = image[4 + step, 8 - step] = 0
    rows, columns = np.indices((9, 9))
    enclosed = np.abs(rows - 4) + np.abs(columns - 4) <= 4
    assert np.array_equal(transparent(image)[..., 3], np.where(enclosed, 255, 0))


def test_the_edge_of_a_large_result_is_a_ramp() -> None:
    """Results of large images are scaled up: their edges are as wide as the scale."""
    small = np.full((32, 32, 3), 255, np.uint8)
    small[8:24, 8:24] = parse_color("orange").rgb
    large = np.asarray(Image.fromarray(small).resize((256, 256), Image.Resampling.BILINEAR))
    rgba = transparent(large)
    row = rgba[128, :128]
    assert (np.diff(row[:, 3].astype(int)) >= 0).all()
    assert ((row[:, 3] > 0) & (row[:, 3] < 255)).sum() >= 6
    assert difference(row[row[:, 3] > 60][:, :3], np.array((255, 165, 0))).max() <= 3
    faint = large.min(axis=2) > 230
    assert (rgba[..., 3][faint] < 64).all()


def test_all_white_is_all_transparent_and_no_paper_is_all_opaque() -> None:
    assert (transparent(np.full((5, 7, 3), 255, np.uint8)) == (255, 255, 255, 0)).all()
    framed = np.full((9, 9, 3), 255, np.uint8)
    framed[[0, -1]] = framed[:, [0, -1]] = (10, 200, 30)
    for image in (np.zeros((3, 3, 3), np.uint8), framed):
        rgba = transparent(image)
        assert (rgba[..., 3] == 255).all()
        assert np.array_equal(rgba[..., :3], image)


def test_noise_in_a_fill_is_no_edge() -> None:
    generator = np.random.default_rng(0)
    for fill in ("lightyellow", "pink", "navy"):
        image = np.full((64, 64, 3), 255, np.uint8)
        noisy = np.array(parse_color(fill).rgb) + generator.integers(-2, 3, (32, 32, 3))
        image[16:48, 16:48] = np.clip(noisy, 0, 255)
        assert (transparent(image)[16:48, 16:48, 3] == 255).all()


def test_paper_may_wind() -> None:
    """A corridor of 100 turns, and a wall that closes the same corridor half way."""
    image = np.zeros((201, 201, 3), np.uint8)
    image[1::2, 1:-1] = 255
    image[2:-1:4, -2] = image[4:-1:4, 1] = 255
    image[0, 1] = 255
    alpha = transparent(image)[..., 3]
    assert np.array_equal(alpha == 0, image[..., 0] == 255)
    image[101, 100] = 0
    alpha = transparent(image)[..., 3]
    assert (alpha[101, 1:100] == 0).all() != (alpha[101, 101:-1] == 0).all()
    assert np.array_equal(alpha == 0, flooded(image))


def test_real_results(shipped: Model) -> None:
    for seed in range(4):
        drawing = draw(np.random.default_rng(seed), 64)
        [[colored]] = shipped.colorize([drawing.image], ["tomato"])
        rgba = transparent(colored)
        assert difference(over(rgba, (255, 255, 255)), colored).max() <= 1
        fill = (drawing.colored != 255).any(axis=2) & (difference(colored, np.array((255, 99, 71))).max(axis=2) < 5)
        assert fill.any()
        assert (rgba[fill][:, 3] > 240).all()
        assert (rgba[flooded(colored)][:, 3] <= 3).all()


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]))),
    st.integers(0, 2**32 - 1),
)
def test_alpha_that_is_put_back_looks_the_same_on_white(colors: NDArray[np.uint8], seed: int) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (*colors.shape[:2], 1), dtype=np.uint8)
    whitened = on_white(np.concatenate([colors, alpha], axis=2))
    made = with_alpha(whitened, alpha)
    assert np.array_equal(made[..., -1:], alpha)
    assert np.abs(on_white(made).astype(int) - whitened).max() <= 1
    assert np.all(made[..., :-1][np.broadcast_to(alpha == 0, colors.shape)] == 255)
    opaque = with_alpha(colors, np.full_like(alpha, 255))
    assert np.array_equal(opaque[..., :-1], colors)


def test_on_white_is_what_pillow_composites() -> None:
    rgba = np.random.default_rng(3).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    white = Image.new("RGBA", (64, 64), "white")
    expected = np.asarray(Image.alpha_composite(white, Image.fromarray(rgba)).convert("RGB"))
    assert np.abs(on_white(rgba).astype(int) - expected).max() <= 1
