"""All frames of an animation, or all pages of a document, decoded as single images are.

Pillow composes the frames of GIF, libwebp those of WebP; those of PNG are composed by ``polyexport.imaging.apng``; in
AVIF every frame is whole. What a GIF never draws, or clears again, is transparent, as in browsers.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError
from polyexport.imaging.apng import composed_frames
from polyexport.imaging.opening import check_size, opened
from polyexport.imaging.pixels import (
    MAX_PIXELS,
    Pixels,
    convert_frame,
    stored_bits,
    traits_of,
)
from polyexport.imaging.traits import KEEP_NOTHING, NO_TRAITS, Keep, Traits

__all__ = ["MAX_DURATION_MS", "MAX_FRAMES", "MAX_PLAYS", "DecodedFrames", "Frame", "decode_frames"]

MAX_FRAMES = 1000
"""Largest number of frames or pages of a file; a file with more is refused."""

MAX_DURATION_MS = 24 * 3600 * 1000
"""Longest time for which a frame is shown, milliseconds; a longer one is cut to it."""

MAX_PLAYS = 65535
"""Largest number of times that an animation is played; a larger one is cut to it."""

_FORMATS = ("GIF", "WEBP", "AVIF", "TIFF")  # others hold unlike pictures, if several

_CLEAR, _RESTORE = 2, 3  # what becomes of a frame of a GIF before the next one (GIF 89a, 23)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame of an animation, or one page of a document."""

    pixels: Pixels
    """uint8 [H, W, channels], upright; read-only. The frames of an animation have one size, pages may differ."""

    alpha: NDArray[np.uint8] | None = None
    """uint8 [H, W, 1], upright; None if the frame has none, or it was not asked for."""

    duration_ms: int = 0
    """Time for which the frame is shown, milliseconds; 0 for pages, and where the file does not say it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedFrames:
    """The frames of an image file."""

    frames: tuple[Frame, ...]
    """Frames in their order, at least one."""

    plays: int = 0
    """Number of times that an animation is played; 0 for endlessly."""

    pages: bool = False
    """Whether the frames are pages of a document, not moments of an animation."""

    warnings: tuple[str, ...] = ()
    """One line for each thing that was dropped from the file."""

    traits: Traits = NO_TRAITS
    """Traits of the file, as far as they were asked for; without alpha, which each frame has."""


def decode_frames(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    max_frames: int = MAX_FRAMES,
    channels: int = 3,
    keep: Keep = KEEP_NOTHING,
) -> DecodedFrames:
    """Decode every frame of an animation (GIF, PNG, WebP, AVIF) or every page of a TIFF file; else the one image.

    Args:
        data: The whole file.
        max_pixels: Largest number of pixels of all frames together.
        max_frames: Largest number of frames.
        channels: Channels of the results; see ``polyexport.imaging.pixels.convert``.
        keep: Traits of the file that are returned beside the pixels.

    Raises:
        ImageError: The data are no image that ``decode`` takes, a frame is damaged, or there are more frames or pixels
            than the limits.
    """
    notes: list[str] = []
    frames: list[Frame] = []
    traits, canvas, area = NO_TRAITS, _Canvas(), 0
    with opened(data, max_pixels) as (image, codec):
        codec.check_file(data)
        pages = image.format == "TIFF"
        for frame, composed_ms in _each(image, data, max_frames, notes):
            area += frame.size[0] * frame.size[1]
            if area > max_pixels:
                raise ImageError(f"frames of more than {max_pixels} pixels together", remedy="split the file")
            for width, height in codec.extra_sizes(image):
                check_size(width, height, max_pixels)
            bits = stored_bits(image, codec, data, notes)
            undrawn = canvas.undrawn(image, codec.drawn_box(image))
            converted = convert_frame(frame, notes, channels=channels, keep_alpha=keep.alpha, undrawn=undrawn)
            if not frames:
                traits = replace(traits_of(image, bits, converted, keep, notes), alpha=None)
            elif not pages and converted.pixels.shape != frames[0].pixels.shape:
                raise ImageError("corrupt (a frame is larger than its animation)", remedy="write the file again")
            duration = 0.0 if pages else float(image.info.get("duration", 0.0) if composed_ms is None else composed_ms)
            shown_ms = min(max(0, round(duration)), MAX_DURATION_MS)
            frames.append(Frame(pixels=converted.pixels, alpha=converted.alpha, duration_ms=shown_ms))
        plays = _plays(image)
    warnings = tuple(dict.fromkeys(notes))  # each once, though it holds for many frames
    return DecodedFrames(frames=tuple(frames), plays=plays, pages=pages, warnings=warnings, traits=traits)


def _each(
    image: Image.Image, data: bytes, max_frames: int, notes: list[str]
) -> Iterator[tuple[Image.Image, float | None]]:
    """Yield each frame of an opened image, and its duration in milliseconds; None if pillow gives it."""
    if not getattr(image, "is_animated", False):
        yield image, None
    elif image.format == "PNG":
        yield from _each_of_png(image, data, max_frames, notes)
    elif image.format not in _FORMATS:
        notes.append("only the first frame is used")
        yield image, None
    else:
        yield from ((image, None) for _ in _positions(image, max_frames))


def _each_of_png(
    image: Image.Image, data: bytes, max_frames: int, notes: list[str]
) -> Iterator[tuple[Image.Image, float]]:
    """Yield the composed frames of an animated PNG file, each with the profile and the EXIF data of the file."""
    stands_apart = bool(getattr(image, "default_image", False))
    if int(getattr(image, "n_frames", 1)) - stands_apart > max_frames:
        raise _too_many(max_frames)
    if stands_apart:
        notes.append("the image that stands for the animation is no part of it and is left out")
    image.load()  # what stands behind the pixels may belong to the traits
    for frame, duration_ms in composed_frames(data):
        frame.info |= {key: image.info[key] for key in ("icc_profile", "exif") if key in image.info}
        yield frame if image.has_transparency_data or not _is_opaque(frame) else _without_alpha(frame), duration_ms


def _is_opaque(frame: Image.Image) -> bool:
    return frame.getchannel("A").getextrema() == (255, 255)


def _without_alpha(frame: Image.Image) -> Image.Image:
    return frame.convert("L" if frame.mode == "LA" else "RGB")  # which keeps the entries beside the pixels


def _positions(image: Image.Image, max_frames: int) -> Iterator[int]:
    """Move an opened image to each of its frames in turn."""
    count = max_frames
    if image.format == "TIFF":
        with contextlib.suppress(EOFError):  # the pages are a list, of which only its links are read here
            image.seek(max_frames)
            raise _too_many(max_frames)
    elif image.format != "GIF":  # whose frames are counted as they come
        count = int(getattr(image, "n_frames", 1))
        if count > max_frames:
            raise _too_many(max_frames)
    for index in range(count):
        if image.format == "TIFF" and index:
            image.info.pop("icc_profile", None)  # which pillow leaves to pages without one
        try:
            image.seek(index)
        except EOFError:
            if image.format not in ("TIFF", "GIF"):
                raise ValueError("a frame is missing") from None
            return
        yield index
    if image.format == "GIF":
        with contextlib.suppress(EOFError):
            image.seek(max_frames)
            raise _too_many(max_frames)


def _too_many(max_frames: int) -> ImageError:
    return ImageError(f"more frames than the limit of {max_frames}", remedy="split the file")


def _plays(image: Image.Image) -> int:
    loop = image.info.get("loop")
    if image.format == "GIF":  # which counts repetitions, and is played once if it says nothing
        loop = 1 if loop is None else loop and loop + 1
    return min(max(0, int(loop or 0)), MAX_PLAYS)


class _Canvas:
    """Record of where the frames of a GIF have drawn."""

    def __init__(self) -> None:
        self._drawn: NDArray[np.bool_] | None = None

    def undrawn(self, image: Image.Image, box: tuple[int, int, int, int] | None) -> NDArray[np.bool_] | None:
        """Return where neither this frame nor one before it draws, bool [H, W]; None if everything is drawn.

        Args:
            image: An image at the next frame, which is not loaded yet.
            box: Left, top, right and bottom of what the frame draws; None if it draws everything.
        """
        if box is None:
            return None
        before = self._drawn
        if before is None or before.shape != image.size[::-1]:
            before = np.zeros(image.size[::-1], np.bool_)
        left, top, right, bottom = box
        drawn = before.copy()
        drawn[top:bottom, left:right] = True
        disposal = getattr(image, "disposal_method", 0)
        self._drawn = before if disposal == _RESTORE else drawn
        if disposal == _CLEAR:
            self._drawn = drawn.copy()
            self._drawn[top:bottom, left:right] = False
        return None if drawn.all() else ~drawn
