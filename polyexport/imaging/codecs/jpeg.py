"""JPEG (ITU-T T.81). Pillow turns the inverted CMYK values of Adobe's files the right way by itself."""

from polyexport.imaging.codecs.codec import Codec

__all__ = ["JPEG"]

JPEG = Codec(
    name="JPEG",
    description="JPEG, baseline or progressive, gray, color or CMYK; of a multi-picture file the first picture",
    signature=rb"\xff\xd8\xff",
    suffixes=(".jpg", ".jpeg", ".jpe"),
)
