"""Pictures that a program has written into a folder, matched to the pictures that it was given by their names."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np

from polyexport.errors import ImageError
from polyexport.imaging.pixels import MAX_FILE_BYTES, inspect_header, read_image
from polyexport.storage.files import read_limited

__all__ = ["Pictures", "names_of"]

_COMPARED = 256
"""Largest number of pictures whose pixels are compared, spread evenly over all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Pictures in a folder and below it."""

    count: int
    """Number of files that are pictures, whatever their names are."""

    sizes: Mapping[str, tuple[int, int]]
    """Width and height in pixels of each picture that bears the name of one that was given."""

    files: Mapping[str, Path]
    """File of each of these pictures."""

    @classmethod
    def read(cls, folder: Path, names: Collection[str]) -> Self:
        """Find the pictures in a folder, which is not trusted; files that are no pictures are left out.

        Args:
            folder: The folder that a program wrote to; it may be missing.
            names: Names as ``names_of`` gives them. A file belongs to the name that its path ends with: ``a/b.jpg``
                and ``red/a/b.png`` belong to ``a/b``.
        """
        count, sizes, files = 0, {}, {}
        for path in _files(folder):
            try:
                size = inspect_header(read_limited(path, MAX_FILE_BYTES))
            except (ImageError, OSError):
                continue
            count += 1
            parts = PurePosixPath(path.relative_to(folder).with_suffix("").as_posix()).parts
            endings = ("/".join(parts[first:]) for first in range(len(parts)))
            name = next((ending for ending in endings if ending in names), None)
            if name is not None:
                sizes[name], files[name] = size, path
        return cls(count=count, sizes=sizes, files=files)

    def difference(self, other: Self) -> tuple[float, int] | None:
        """Return the mean and the largest absolute difference, in levels of 255, from pictures of the same names.

        Only pictures of one size count; None if there are none that can be read.
        """
        shared = sorted(name for name, size in self.sizes.items() if other.sizes.get(name) == size)
        means, largest = [], 0
        for name in shared[:: max(1, len(shared) // _COMPARED)]:
            try:
                pair = (read_image(files[name]).pixels for files in (self.files, other.files))
                apart = np.abs(np.subtract(*(pixels.astype(np.int16) for pixels in pair)))
            except ImageError:
                continue
            means.append(float(apart.mean()))
            largest = max(largest, int(apart.max()))
        return (float(np.mean(means)), largest) if means else None


def names_of(folder: Path) -> list[str]:
    """Return the names of all files in a folder and below it, relative to it and without their suffixes, sorted."""
    return sorted({path.relative_to(folder).with_suffix("").as_posix() for path in _files(folder)})


def _files(folder: Path) -> Iterator[Path]:
    for root, _, files in os.walk(folder):
        yield from (Path(root, name) for name in sorted(files) if not name.startswith("."))
