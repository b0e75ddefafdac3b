"""Writer of one image format: what the format holds, and what becomes of pixels and traits that it does not hold."""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.matte import on_white
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["Encoder", "save", "tiff_bytes"]

_EXIF_HEADER = b"Exif\0\0"  # in front of the TIFF structure in JPEG files


@dataclass(frozen=True, kw_only=True)
class Encoder(ABC):
    """Writer of one image format. Safe to call from several threads; equal arguments give equal bytes."""

    name: str
    """Name of the format, as pillow spells it."""

    suffixes: tuple[str, ...]
    """Suffixes of the names of such files, lowercase, with the dot; the first one is written."""

    max_side: int
    """Largest height and width, in pixels."""

    gray: bool = True
    """Whether the format holds gray pixels as such; if not, they are written as RGB."""

    alpha: bool = True
    """Whether the format holds alpha; if not, it is composited on white."""

    profile_bytes: int = 0
    """Largest color profile that the format holds; 0 if it holds none."""

    held: frozenset[str] = frozenset()
    """Traits that the format holds, of ``exif``, ``xmp`` and ``dpi``."""

    several: Literal["", "frames", "pages"] = ""
    """Pictures that a file may hold several of: frames of an animation, or pages, each of its own size; empty for one
    picture only. Frames can be written as pages, without their times."""

    TRAITS: ClassVar[dict[str, str]] = {"exif": "EXIF data", "xmp": "XMP", "dpi": "resolution"}
    """Traits that are metadata, and their names in warnings."""

    def encode(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """Encode pixels as the bytes of a file.

        Args:
            pixels: uint8 [H, W, C], 0 to 255: gray (1 channel), gray and alpha (2), RGB (3) or RGBA (4).
            output: quality and compression.
            traits: the profile of the pixels and the metadata that the file gets, as far as the format holds them.
            notes: a list that gets one line for each thing that was dropped.

        Raises:
            ImageError: the format does not hold so many pixels.
        """
        return self.write(self._held_pixels(pixels, notes), output, self._held_traits(traits, notes), notes)

    def encode_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """Encode the frames of an animation or the pages of a document as the bytes of one file.

        Args:
            frames: pixels of each, as ``encode`` takes them: all gray or all colors, with or without alpha. Only pages
                may have several sizes.
            times: times of the frames.
            output: quality and compression.
            traits: the profile of the pixels and the metadata that the file gets, once, as far as the format holds
                them.
            notes: a list that gets lines for what was dropped, rounded or cut.

        Raises:
            ImageError: the format does not hold several, or not so many pixels.
        """
        if not self.several:
            raise ImageError(f"{self.name} holds one picture", remedy="use --frames first, or another --format")
        told: list[str] = []
        held = [self._held_pixels(pixels, told) for pixels in frames]
        if self.several == "frames" and len({pixels.shape[2] for pixels in held}) > 1:
            held = [_with_channels(pixels, max(each.shape[2] for each in held)) for pixels in held]
        data = self.write_frames(held, times, output, self._held_traits(traits, told), told)
        notes += dict.fromkeys(told)  # each once, though it holds for many frames
        return data

    def _held_pixels(self, pixels: NDArray[np.uint8], notes: list[str]) -> NDArray[np.uint8]:
        """Return pixels in channels that the format holds."""
        height, width, channels = pixels.shape
        if max(height, width) > self.max_side:
            raise ImageError(
                f"{self.name} holds at most {self.max_side} pixels a side, and the result has {width}x{height}",
                remedy="use --format png or tiff",
            )
        if channels in (2, 4) and not self.alpha:
            pixels = on_white(pixels)
            notes.append(f"{self.name} holds no alpha: composited on white")
        if pixels.shape[2] < 3 and not self.gray:
            pixels = pixels[..., [0, 0, 0, 1][: pixels.shape[2] + 2]]
        return pixels

    def _held_traits(self, traits: Traits, notes: list[str]) -> Traits:
        """Return traits whose profile the format holds."""
        lost = [name for name in self.TRAITS if name not in self.held and getattr(traits, name)]
        if lost:
            notes.append(f"{self.name} holds no {' and no '.join(self.TRAITS[name] for name in lost)}: left out")
        if len(traits.icc_profile) > self.profile_bytes:
            traits = replace(traits, icc_profile=b"")
        return traits

    @abstractmethod
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """Write pixels that the format holds; see ``encode``. Traits that the format does not hold are ignored."""

    def write_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """Write frames of the channels that the format holds; see ``encode_frames``."""
        raise NotImplementedError(f"{self.name} holds one picture")


def save(pixels: NDArray[np.uint8], name: str, *, others: Sequence[NDArray[np.uint8]] = (), **options: Any) -> bytes:
    """Let pillow write a file.

    Args:
        pixels: uint8 [H, W, C], gray, gray and alpha, RGB or RGBA.
        name: pillow's name of the format.
        others: further frames of the same shape.
        options: pillow's options of the format.

    Raises:
        ImageError: this pillow was built without the format.
    """
    image = _image(pixels)
    if others:
        options |= {"save_all": True, "append_images": [_image(each) for each in others]}
    buffer = io.BytesIO()
    try:
        image.save(buffer, name, **options)
    except KeyError as error:
        if name in Image.SAVE:
            raise
        raise ImageError(
            f"this pillow was built without {name}", remedy="install its wheel, or choose another --format"
        ) from error
    return buffer.getvalue()


def tiff_bytes(exif: bytes) -> bytes:
    """Return EXIF data as the TIFF structure that they are, without the header that they have in a JPEG file."""
    return exif.removeprefix(_EXIF_HEADER)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return pixels, uint8 [H, W, C], with an opaque alpha if they have a channel less than they should."""
    if pixels.shape[2] == channels:
        return pixels
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=2)
