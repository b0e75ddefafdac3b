"""WebP (RFC 9649)."""

from polyexport.imaging.codecs.codec import Codec

__all__ = ["WEBP"]

WEBP = Codec(
    name="WEBP",
    description="WebP, lossy or lossless, with or without alpha; of an animation the first frame",
    signature=rb"RIFF....WEBP",
    suffixes=(".webp",),
)
