"""Data sets of generated drawings, written to disk."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from polyexport.data.drawings import DrawingsConfig, draw
from polyexport.data.pairs import PairPixels, write_pairs
from polyexport.data.vocabulary import VOCABULARY
from polyexport.imaging.color import color_of

__all__ = ["write_drawings"]


def write_drawings(
    folder: Path,
    sets: Mapping[str, DrawingsConfig],
    *,
    count: int,
    size: int,
    seed: int,
    named_colors: bool = False,
    overwrite: bool = False,
) -> None:
    """Draw data sets and write them, all of them or nothing.

    The same arguments give the same bytes. Drawing ``i`` depends on the seed and ``i``, not on ``count``.

    Args:
        folder: Folder to write into; created if it is missing.
        sets: Name of the folder of each data set below ``folder``, empty for ``folder`` itself -> how varied its
            drawings are.
        count: Number of drawings in each data set.
        size: Height and width of the drawings, pixels.
        seed: Seed of the random generator, not negative.
        named_colors: Fill with the twenty named colors in turn, in place of random colors.
        overwrite: Allow replacing earlier data sets.

    Raises:
        UsageError: An earlier data set, or a file that none lists, may not be replaced.
        OutputError: A file cannot be written.
    """
    digits = len(str(count - 1))

    def pairs(config: DrawingsConfig) -> Iterator[tuple[str, PairPixels]]:
        for number in range(count):
            color = VOCABULARY[number % len(VOCABULARY)][1] if named_colors else None
            drawing = draw(np.random.default_rng([seed, number]), size, config, color=color)
            pixels = PairPixels(
                image=drawing.image, color=color_of(drawing.color), colored=drawing.colored, shape=drawing.shape
            )
            yield f"{number:0{digits}}_{drawing.shape}", pixels

    described = {name: asdict(config) for name, config in sets.items()}
    request = json.dumps([described, count, size, seed, named_colors], sort_keys=True)
    write_pairs(folder, {name: pairs(config) for name, config in sets.items()}, overwrite=overwrite, request=request)
