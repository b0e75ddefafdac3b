"""Draws the pictures of the documentation: python docs/picture.py

docs/demo.png, the README's picture, shows drawings of ten kinds and what the shipped model makes of them;
docs/drawings.png shows every kind of generated drawing with its answer.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import polyexport
from polyexport.data.drawings import draw
from polyexport.data.splits import SPLITS
from polyexport.imaging.pixels import Pixels

FOLDER = Path(__file__).parent
GAP = 6
SIZE = 256
COLUMNS = [
    ("details", 8),
    ("open_lines", 4),
    ("border", 3),
    ("bitten_gaps", 2),
    ("large_gaps", 8),
    ("dashed", 9),
    ("wobbly", 7),
    ("pencil", 2),
    ("photo", 1),
    ("ruled", 6),
]
"""Kinds of drawings in the README's picture, with a seed for each."""

COLORS = ["tomato", "#1e90ff"]


def main() -> None:
    """Draw the pictures."""
    sheet(demo(), 128).save(FOLDER / "demo.png", optimize=True)
    # 128 colors make a third of the file, and nobody sees the difference at this size.
    sheet(kinds(), 96).quantize(128).save(FOLDER / "drawings.png", optimize=True)


def demo() -> list[list[Pixels]]:
    """Drawings in the first row, one row for each color below."""
    drawings = [draw(np.random.default_rng(seed), SIZE, SPLITS[kind].drawings).image for kind, seed in COLUMNS]
    colored = polyexport.load_model(provider="cpu").colorize(drawings, COLORS)
    return [drawings, *([results[k] for results in colored] for k in range(len(COLORS)))]


def kinds() -> list[list[Pixels]]:
    """Six drawings of each kind, each followed by its answer; one row for each kind."""
    rows = []
    for split in SPLITS.values():
        pairs = [draw(np.random.default_rng([9, seed]), SIZE, split.drawings) for seed in range(6)]
        rows.append([pixels for pair in pairs for pixels in (pair.image, pair.colored)])
    return rows


def sheet(rows: list[list[Pixels]], side: int) -> Image.Image:
    """Lay rows of pictures out on a gray sheet, each scaled to ``side`` pixels."""
    step = side + GAP
    image = Image.new("RGB", (step * len(rows[0]) + GAP, step * len(rows) + GAP), (225, 225, 225))
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            small = Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
            image.paste(small, (GAP + x * step, GAP + y * step))
    return image


if __name__ == "__main__":
    main()
