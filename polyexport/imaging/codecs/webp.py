"""WebP (RFC 9649): an animation may leave parts of its canvas undrawn, which is transparent."""

from typing import Any

from PIL import Image

from polyexport.imaging.codecs.codec import Codec

__all__ = ["WEBP"]


class _Webp(Codec):
    def prepare(self, image: Image.Image) -> None:
        """Have the alpha of an animation read, even if no frame has one: libwebp gives what no frame draws alpha 0.

        Pillow believes the flag of the file, which speaks of the frames alone, and would show such parts as black.
        """
        opened: Any = image  # whose class is imported by pillow when the first such file is opened
        if opened.is_animated and opened.rawmode == "RGBX":
            opened.rawmode = opened._mode = "RGBA"


WEBP = _Webp(
    name="WEBP",
    description="WebP, lossy or lossless, with or without alpha; of an animation the first frame",
    signature=rb"RIFF....WEBP",
    suffixes=(".webp",),
)
