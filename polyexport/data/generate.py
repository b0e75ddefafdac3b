"""Data sets of generated drawings, written to disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.pairs import PairPixels, write_pairs
from polyexport.data.vocabulary import VOCABULARY
from polyexport.imaging.color import color_of

__all__ = ["write_drawings"]


def write_drawings(
    folder: Path, config: DrawingConfig, *, count: int, size: int, seed: int, named_colors: bool = False
) -> None:
    """Draw a data set and write it in place of any earlier one in the same folder.

    The same arguments give the same bytes. Drawing ``i`` depends on the seed and ``i``, not on ``count``.

    Args:
        folder: Folder of the data set; created if it is missing.
        config: How varied the drawings are.
        count: Number of drawings.
        size: Height and width of the drawings, pixels.
        seed: Seed of the random generator, not negative.
        named_colors: Fill with the twenty named colors in turn, in place of random colors.

    Raises:
        OutputError: A file cannot be written.
    """
    digits = len(str(count - 1))

    def pairs() -> Iterator[tuple[str, PairPixels]]:
        for number in range(count):
            color = VOCABULARY[number % len(VOCABULARY)][1] if named_colors else None
            drawing = draw(np.random.default_rng([seed, number]), size, config, color=color)
            pixels = PairPixels(
                image=drawing.image, color=color_of(drawing.color), colored=drawing.colored, shape=drawing.shape
            )
            yield f"{number:0{digits}}_{drawing.shape}", pixels

    write_pairs(folder, pairs())
