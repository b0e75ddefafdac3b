"""The Netpbm formats PBM, PGM and PPM, which pillow reads as one format."""

import re

from PIL import Image

from polyexport.imaging.codecs.codec import Codec

__all__ = ["PPM"]

_HEADER_BYTES = 4096  # of which comments take as much as they like
_COMMENT = re.compile(rb"#[^\r\n]*")


class _Ppm(Codec):
    def bits(self, image: Image.Image, data: bytes) -> int:
        """Return the bits of the largest value, the fourth word of the header."""
        words = _COMMENT.sub(b"", data[:_HEADER_BYTES]).split(maxsplit=4)
        if image.mode == "1" or len(words) < 4 or not words[3].isdigit():
            return super().bits(image, data)
        return max(1, min(int(words[3]).bit_length(), 16))


PPM = _Ppm(
    name="PPM",
    description="Netpbm (PBM, PGM, PPM), plain or binary, with 1 to 16 bits per channel",
    signature=rb"P[1-6][\s#]",
    suffixes=(".ppm", ".pgm", ".pbm", ".pnm"),
)
