"""Data sets on disk as training pairs, and the choice of the pairs that are held out for validation."""

from pathlib import Path

from polyexport.data.drawings import Drawing
from polyexport.data.pairs import read_pair, read_pairs
from polyexport.errors import DatasetError

__all__ = ["hold_out", "load_pairs"]

_HELD_OUT_ONE_IN = 8


def load_pairs(folder: Path, size_multiple: int) -> list[Drawing]:
    """Read every pair of a data set into memory.

    Args:
        folder: Folder of the data set; see ``polyexport.data.pairs``.
        size_multiple: Heights and widths must be multiples of this, in pixels.

    Raises:
        DatasetError: The data set cannot be read, or its images are not squares of one suitable size.
    """
    pairs: list[Drawing] = []
    for entry in read_pairs(folder):
        pixels = read_pair(entry)
        height, width = pixels.image.shape[:2]
        if height != width or height % size_multiple or (pairs and pairs[0].image.shape != pixels.image.shape):
            raise DatasetError(
                f"{entry.input} is {width}x{height}",
                remedy=f"give square images of one size, a multiple of {size_multiple}",
            )
        pairs.append(Drawing(shape=entry.input.stem, color=entry.color.rgb, image=pixels.image, colored=pixels.colored))
    return pairs


def hold_out(pairs: list[Drawing]) -> tuple[list[Drawing], list[Drawing]]:
    """Divide pairs into those to train on and those to validate on: every eighth pair, the first one included.

    So at least one pair is held out if there are two. A single pair cannot be divided: it is used for both, and the
    training calls its scores those of the training pairs.
    """
    if len(pairs) < 2:
        return pairs, pairs
    training = [pair for number, pair in enumerate(pairs) if number % _HELD_OUT_ONE_IN]
    return training, pairs[::_HELD_OUT_ONE_IN]
