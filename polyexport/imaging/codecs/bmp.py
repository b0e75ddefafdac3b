"""BMP, the bitmap file of Windows."""

from polyexport.imaging.codecs.codec import Codec

__all__ = ["BMP"]

BMP = Codec(
    name="BMP",
    description="Windows bitmap with 1 to 32 bits per pixel, with or without run-length compression",
    signature=rb"BM",
    suffixes=(".bmp",),
)
