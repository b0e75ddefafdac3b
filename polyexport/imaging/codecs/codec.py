"""The description of one image file format: how to recognize it, and what pillow alone leaves unchecked in it."""

from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

__all__ = ["Codec", "DeepGray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepGray:
    """The meaning of the gray values of an image that stores more than 8 bits per pixel."""

    bits: int = 16
    """Bits per stored value."""

    signed: bool = False
    """True if the stored values are signed integers."""

    white_is_zero: bool = False
    """True if 0 is white and the largest value is black."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """One image file format that inputs may have. A format with checks of its own overrides the methods."""

    name: str
    """Name of the format, as pillow spells it."""

    description: str
    """Short text for the documentation: the format, and the variants of it that are read."""

    signature: bytes
    """Regular expression that matches the first bytes of every file of this format."""

    suffixes: tuple[str, ...]
    """File name suffixes that mark a file as an image when a folder is scanned: lowercase, with the dot."""

    orientation_in_tags: bool = False
    """True if the file's own tags hold the EXIF orientation, so that pillow reports the upright size by itself."""

    def check_file(self, data: bytes) -> None:
        """Check the bytes of a whole file before its pixels are decoded.

        Raises:
            ValueError: the file is damaged in a way that pillow does not detect.
        """

    def prepare(self, image: Image.Image) -> None:
        """Set an opened image so that its pixels are read as its format means them."""

    def extra_sizes(self, image: Image.Image) -> Iterable[tuple[int, int]]:
        """Return the sizes (width, height) that decoding allocates besides the size of the image, in pixels."""
        return ()

    def drawn_box(self, image: Image.Image) -> tuple[int, int, int, int] | None:
        """Return the part of an opened, not yet loaded image that its file draws; None if it draws all of it.

        Returns:
            Left, top, right and bottom in pixels. Pixels outside of the box are transparent in the file.
        """
        return None

    def bits(self, image: Image.Image, data: bytes) -> int:
        """Return how many bits per channel a file stores; 8 for palettes, whose colors have as many.

        Args:
            image: The opened, not yet loaded image.
            data: The whole file.
        """
        return 1 if image.mode == "1" else 8

    def deep_gray(self, image: Image.Image) -> DeepGray:
        """Return the meaning of the gray values of a loaded image with more than 8 bits per pixel."""
        return DeepGray()
