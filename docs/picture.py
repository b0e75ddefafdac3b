"""Draws docs/demo.png, the README's picture, with the shipped model: python docs/picture.py"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import polyexport
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw

SIZE, GAP, ZOOM = 128, 6, 1
PLAIN = DrawingConfig(antialiased=1, gapped=0, noisy=0, jpeg=0, tinted=0, multiple=0)
COLUMNS: list[tuple[str, DrawingConfig, int]] = [
    ("star", replace(PLAIN, antialiased=0), 4),
    ("hexagon", replace(PLAIN, gapped=1), 3),
    ("blob", replace(PLAIN, noisy=1, tinted=1), 5),
    ("slotted", PLAIN, 8),
    ("square", replace(PLAIN, antialiased=0, gapped=1), 11),
    ("triangle", replace(PLAIN, multiple=1), 2),
]
COLORS = ["tomato", "#1e90ff", "hsl(140, 60%, 40%)"]


def main() -> None:
    """Outlines in the first row, one row for each color below."""
    outlines = [draw(np.random.default_rng(seed), SIZE, config, shape=shape).image for shape, config, seed in COLUMNS]
    colored = polyexport.load_model(provider="cpu").colorize(outlines, COLORS)
    rows = [outlines, *([results[k] for results in colored] for k in range(len(COLORS)))]
    step = SIZE + GAP
    sheet = np.full((step * len(rows) + GAP, step * len(outlines) + GAP, 3), 225, np.uint8)
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            sheet[GAP + y * step :, GAP + x * step :][:SIZE, :SIZE] = pixels
    Image.fromarray(sheet).save(Path(__file__).with_name("demo.png"), optimize=True)


if __name__ == "__main__":
    main()
