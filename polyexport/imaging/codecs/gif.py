"""GIF (87a and 89a): a frame may cover a part of the picture only."""

from PIL import Image, ImageFile

from polyexport.imaging.codecs.codec import Codec

__all__ = ["GIF"]


class _Gif(Codec):
    def drawn_box(self, image: Image.Image) -> tuple[int, int, int, int] | None:
        """Return the box of the frame: what the frame leaves out is transparent in the file, and black in pillow."""
        return image.tile[0][1] if isinstance(image, ImageFile.ImageFile) and image.tile else None


GIF = _Gif(
    name="GIF",
    description="GIF 87a and 89a; of an animation the first frame",
    signature=rb"GIF8[79]a",
    suffixes=(".gif",),
)
