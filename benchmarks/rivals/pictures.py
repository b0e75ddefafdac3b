"""Arguments, reading and writing of pictures that the loops of this folder share; Pillow and NumPy alone."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

BATCH = 8
"""Images in a call; more gain nothing on the cores of a CPU and cost memory."""

Pixels = NDArray[np.uint8]
Extent = tuple[int, int]
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image on a canvas that the network takes."""

    path: Path
    canvas: Pixels
    seen: Extent
    """Width and height of the part of the canvas that the image covers."""

    size: Extent
    """Width and height of the image."""

    def save(self, result: Pixels, folder: Path) -> None:
        """Cut the network's result back to the image and write it as PNG, compressed as quickly as Pillow can."""
        cut = np.ascontiguousarray(result[: self.seen[1], : self.seen[0]])
        image = Image.fromarray(cut[..., 0] if cut.shape[2] == 1 else cut)
        image = image if self.seen == self.size else image.resize(self.size, Image.Resampling.BILINEAR)
        image.save(folder / f"{self.path.stem}.png", compress_level=1)


def arguments(description: str | None) -> argparse.Namespace:
    """The command line of every loop, with the output folder made."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, metavar="IN_FOLDER")
    parser.add_argument("output", type=Path, metavar="OUT_FOLDER")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--color", type=ImageColor.getrgb, default=(255, 136, 0))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--size", type=int, default=0, help="largest side that the network sees; 0 leaves each image")
    parser.add_argument("--multiple", type=int, default=64, help="number that the network's sides are multiples of")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    given.values = {
        "color": given.color,
        **{text.partition("=")[0]: float(text.partition("=")[2]) for text in given.set},
    }
    given.output.mkdir(parents=True, exist_ok=True)
    return given


def chunks(folder: Path) -> list[list[Path]]:
    """The files of a folder, a batch at a time."""
    files = sorted(folder.iterdir())
    return [files[first : first + BATCH] for first in range(0, len(files), BATCH)]


def read(path: Path, channels: int, given: argparse.Namespace) -> Picture:
    """Open an image and place it: scaled to ``--size`` if it is larger, and padded by repeating its last pixels."""
    image: Image.Image = Image.open(path)
    image = image if image.mode == _MODES[channels] else image.convert(_MODES[channels])
    size = seen = image.size
    if given.size and max(size) > given.size:
        seen = (max(1, round(size[0] * given.size / max(size))), max(1, round(size[1] * given.size / max(size))))
        image = image.resize(seen, Image.Resampling.LANCZOS)
    pixels = np.asarray(image).reshape(seen[1], seen[0], channels)
    down, right = -seen[1] % given.multiple, -seen[0] % given.multiple
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), "edge")
    return Picture(path, pixels, seen, size)


def batches(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Pictures grouped by the shape of their canvas: a call takes one shape."""
    shapes: dict[tuple[int, ...], list[Picture]] = {}
    for picture in pictures:
        shapes.setdefault(picture.canvas.shape, []).append(picture)
    return list(shapes.values())
