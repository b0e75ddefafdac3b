"""The Netpbm formats PBM, PGM and PPM, which pillow reads as one format."""

from polyexport.imaging.codecs.codec import Codec

__all__ = ["PPM"]

PPM = Codec(
    name="PPM",
    description="Netpbm (PBM, PGM, PPM), plain or binary, with 1 to 16 bits per channel",
    signature=rb"P[1-6][\s#]",
    suffixes=(".ppm", ".pgm", ".pbm", ".pnm"),
)
