"""Draws the pictures of the demo page's gallery, always the same ones: python docs/gallery.py"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.geometry import broken, joined, placed
from polyexport.data.outlines import OUTLINES, Points
from polyexport.data.rendering import coverage
from polyexport.imaging.codecs.png import encode_png

FOLDER = Path(__file__).parents[1] / "polyexport" / "demo" / "page" / "gallery"
SIZE = 512
SUPERSAMPLING = 4
Cell = tuple[float, float, float, float]
WHOLE: Cell = (30.0, 30.0, SIZE - 60.0, SIZE - 60.0)


def ink(strokes: list[Points], width: float) -> NDArray[np.float64]:
    """Coverage by ink, [H, W], 0 to 1."""
    return coverage([], strokes, SIZE, width, SUPERSAMPLING)[0] / 255.0


def outline(rng: np.random.Generator, shape: str, cell: Cell = WHOLE) -> Points:
    """A shape that fills most of a cell."""
    while True:
        points = placed(OUTLINES[shape](rng), rng, cell, margin=4)
        if min(np.ptp(points, axis=0) / cell[2:]) > 0.6:
            return points


def line(*points: tuple[float, float]) -> Points:
    return np.array(points, np.float64)


def arc(x: float, y: float, radius_x: float, radius_y: float, start: float, stop: float) -> Points:
    angles = np.radians(np.linspace(start, stop, 60))
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def paper(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Gray levels as RGB."""
    gray = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def black(covered: NDArray[np.float64]) -> NDArray[np.uint8]:
    return paper(255 * (1 - covered))


def lines_inside(_rng: np.random.Generator) -> NDArray[np.uint8]:
    house = line((90, 230), (256, 70), (422, 230), (422, 440), (90, 440))
    inside = [line((90, 230), (422, 230)), line((180, 440), (180, 320), (260, 320), (260, 440))]
    window = joined(line((310, 280), (380, 280), (380, 350), (310, 350)))
    return black(ink([joined(house), *inside, window, line((345, 280), (345, 350)), line((310, 315), (380, 315))], 5))


def letters(rng: np.random.Generator) -> NDArray[np.uint8]:
    frame = joined(outline(rng, "rounded", (16, 16, 480, 480)))
    a = [line((150, 330), (200, 190), (250, 330)), line((168, 280), (232, 280))]
    b = [line((290, 190), (290, 330)), arc(290, 225, 55, 35, -90, 90), arc(290, 295, 65, 35, -90, 90)]
    return black(ink([frame, *a, *b], 6))


def open_lines(rng: np.random.Generator) -> NDArray[np.uint8]:
    shapes = [
        joined(outline(rng, name, cell))
        for name, cell in (("star", (20, 20, 230, 230)), ("blob", (250, 240, 240, 240)))
    ]
    wave = np.linspace(0, 1, 80)
    waves = np.stack([280 + 200 * wave, 130 + 40 * np.sin(11 * wave)], axis=1)
    return black(ink([*shapes, waves, arc(130, 380, 90, 80, 20, 250)], 5))


def page_edge(_rng: np.random.Generator) -> NDArray[np.uint8]:
    return black(ink([arc(120, 500, 250, 260, 0, 360), arc(440, 120, 150, 130, 0, 360)], 6))


def cut_gaps(rng: np.random.Generator) -> NDArray[np.uint8]:
    return black(ink(broken(outline(rng, "star"), rng, 0.05, 6.0), 6))


def bitten_gaps(rng: np.random.Generator) -> NDArray[np.uint8]:
    points = outline(rng, "octagon")
    covered = ink([joined(points)], 8)
    y, x = np.mgrid[:SIZE, :SIZE]
    for at in rng.permutation(len(points))[:3]:
        bite_x, bite_y = (points[at] + points[at - 1]) / 2
        covered *= np.clip(np.hypot(x - bite_x, y - bite_y) - 15, 0, 1)
    return black(covered)


def large_gap(_rng: np.random.Generator) -> NDArray[np.uint8]:
    return black(ink([arc(256, 256, 190, 170, -60, 265)], 7))


def dashed(_rng: np.random.Generator) -> NDArray[np.uint8]:
    return black(ink([arc(256, 256, 180, 190, start, start + 9) for start in range(0, 360, 15)], 5))


def photo(rng: np.random.Generator) -> NDArray[np.uint8]:
    covered = ink(broken(outline(rng, "blob"), rng, 0.04, 7.0), 7)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    light = 232 - 75 * x * y - 30 * (1 - x)
    return paper(light - (light - 45) * covered + rng.normal(0, 2.5, covered.shape))


def pencil(rng: np.random.Generator) -> NDArray[np.uint8]:
    points = outline(rng, "concave")
    covered = np.maximum(ink([joined(points)], 4), ink([joined(points + rng.normal(0, 1.5, points.shape))], 3))
    grain = rng.uniform(0.55, 1.0, covered.shape)
    return paper(250 - 130 * covered * grain + rng.normal(0, 1.5, covered.shape))


GALLERY: dict[str, tuple[Callable[[np.random.Generator], NDArray[np.uint8]], int]] = {
    "lines-inside.png": (lines_inside, 1),
    "letters.png": (letters, 2),
    "open-lines.png": (open_lines, 3),
    "page-edge.png": (page_edge, 4),
    "cut-gaps.png": (cut_gaps, 5),
    "bitten-gaps.png": (bitten_gaps, 6),
    "large-gap.png": (large_gap, 7),
    "dashed.png": (dashed, 8),
    "paper.webp": (photo, 9),
    "pencil.webp": (pencil, 10),
}


def encoded(name: str) -> bytes:
    """The bytes of one picture."""
    make, seed = GALLERY[name]
    pixels = make(np.random.default_rng(seed))
    if name.endswith(".png"):
        return encode_png(pixels)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=80, method=6)
    return stream.getvalue()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in GALLERY:
        (FOLDER / name).write_bytes(encoded(name))


if __name__ == "__main__":
    main()
