"""AVIF (https://aomediacodec.github.io/av1-avif/): still pictures and sequences of AV1."""

from PIL import Image

from polyexport.imaging.codecs.codec import Codec

__all__ = ["AVIF"]

# Either the major brand is one of AVIF's, or one of a general container among whose compatible brands is one of AVIF's.
_SIGNATURE = rb"....ftyp(?:avi[fs]|(?:mif1|msf1)....(?:....){0,15}?avi[fs])"

_HEADER_BYTES = 64 * 1024  # in which the boxes that describe the image stand


class _Avif(Codec):
    def bits(self, image: Image.Image, data: bytes) -> int:
        """Return the bit depth of the first configuration box of AV1 (AV1 in ISO base media files, 2.3.3)."""
        box = data.find(b"av1C", 0, _HEADER_BYTES)
        flags = data[box + 6] if 0 <= box < len(data) - 6 else 0
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


AVIF = _Avif(
    name="AVIF",
    description="AVIF, 8 to 12 bits per channel, lossy or not, with or without alpha; of a sequence the first frame",
    signature=_SIGNATURE,
    suffixes=(".avif", ".avifs"),
)
