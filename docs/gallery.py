"""Draws the pictures of the demo page's gallery, always the same ones: python docs/gallery.py"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.data.splits import SPLITS
from polyexport.imaging.codecs.png import encode_png

FOLDER = Path(__file__).parents[1] / "polyexport" / "demo" / "page" / "gallery"
SIZE = 512
SEED = 11

GALLERY = {
    "bitten-gaps.png": ("bitten_gaps", 24),
    "cut-gaps.png": ("cut_gaps", 1),
    "large-gap.png": ("large_gaps", 20),
    "dashed.png": ("dashed", 1),
    "lines-inside.png": ("details", 34),
    "letters-inside.png": ("details", 26),
    "open-lines.png": ("open_lines", 24),
    "page-edge.png": ("border", 20),
    "photo.webp": ("photo", 27),
    "pencil.webp": ("pencil", 30),
}
"""Split of the generated drawings that each file is drawn from, and the number of the drawing in the split."""


def encoded(name: str) -> bytes:
    """The bytes of one file."""
    split, number = GALLERY[name]
    pixels = draw(np.random.default_rng([SEED, number]), SIZE, SPLITS[split].drawings).image
    if name.endswith(".png"):
        return encode_png(pixels)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=80, method=6)
    return stream.getvalue()


def main() -> None:
    """All files of the gallery."""
    FOLDER.mkdir(exist_ok=True)
    for name in GALLERY:
        (FOLDER / name).write_bytes(encoded(name))


if __name__ == "__main__":
    main()
