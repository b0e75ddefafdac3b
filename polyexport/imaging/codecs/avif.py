"""AVIF (https://aomediacodec.github.io/av1-avif/): still pictures and sequences of AV1."""

from polyexport.imaging.codecs.codec import Codec

__all__ = ["AVIF"]

# Either the major brand is one of AVIF's, or one of a general container among whose compatible brands is one of AVIF's.
_SIGNATURE = rb"....ftyp(?:avi[fs]|(?:mif1|msf1)....(?:....){0,15}?avi[fs])"

AVIF = Codec(
    name="AVIF",
    description="AVIF, 8 to 12 bits per channel, lossy or not, with or without alpha; of a sequence the first frame",
    signature=_SIGNATURE,
    suffixes=(".avif", ".avifs"),
)
