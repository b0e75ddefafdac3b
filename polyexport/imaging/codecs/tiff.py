"""TIFF 6.0 and BigTIFF: tiles that may be larger than the image, deep grays, and the orientation among the tags."""

from collections.abc import Iterable
from typing import Any

from PIL import Image

from polyexport.imaging.codecs.codec import Codec, DeepGray

__all__ = ["TIFF"]

# Numbers of tags (TIFF 6.0, appendix A).
_BITS_PER_SAMPLE, _PHOTOMETRIC_INTERPRETATION, _TILE_WIDTH, _TILE_LENGTH, _SAMPLE_FORMAT = 258, 262, 322, 323, 339

# Values of these tags.
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2


class _Tiff(Codec):
    def extra_sizes(self, image: Image.Image) -> Iterable[tuple[int, int]]:
        """Return the size of a tile: a tile is decoded whole, however little of it the image shows."""
        tags = _tags(image)
        return ((tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)),)

    def bits(self, image: Image.Image, data: bytes) -> int:
        """Return the bits of the first channel, read from the tags."""
        bits = _first(_tags(image).get(_BITS_PER_SAMPLE, 1))
        return 8 if image.mode in ("P", "PA") or not isinstance(bits, int) else max(1, min(bits, 64))

    def deep_gray(self, image: Image.Image) -> DeepGray:
        """Return the meaning of the gray values, read from the tags."""
        tags = _tags(image)
        return DeepGray(
            bits=_first(tags.get(_BITS_PER_SAMPLE, 16)),
            signed=_first(tags.get(_SAMPLE_FORMAT, _UNSIGNED)) == _SIGNED,
            white_is_zero=tags.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO,
        )


TIFF = _Tiff(
    name="TIFF",
    description="TIFF and BigTIFF in strips or tiles, 1 to 32 bits per channel, integer or float; the first page",
    signature=rb"II[*+]\0|MM\0[*+]",
    suffixes=(".tif", ".tiff"),
    orientation_in_tags=True,
)


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value
