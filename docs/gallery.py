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
    "details.png": 10,
    "glyphs.png": 3,
    "open_lines.png": 0,
    "border.png": 9,
    "cut_gaps.png": 1,
    "bitten_gaps.png": 10,
    "large_gaps.png": 9,
    "dashed.png": 1,
    "photo.webp": 10,
    "pencil.webp": 4,
}
"""Files, named after a split of the generated drawings, and the number of the drawing in this split."""


def encoded(name: str) -> bytes:
    """The bytes of one file."""
    split = SPLITS[Path(name).stem]
    pixels = draw(np.random.default_rng([SEED, GALLERY[name]]), SIZE, split.drawings).image
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
