"""The canvas: how an image of any size is placed on pixels that the network can take, and how its output is cut back.

``fit`` puts the image on a square canvas of the model's own size: larger images are scaled down, smaller ones are
padded with white and never enlarged. ``native`` keeps the image's own resolution and pads it to the next multiple that
the network takes. Both return the output at the size of the input. An image that already has the size of the canvas
passes through unchanged.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from polyexport.errors import ImageError, UsageError
from polyexport.imaging.pixels import MAX_SIDE, Pixels

__all__ = ["MAX_NATIVE_PIXELS", "Canvas", "CanvasRule", "Size"]

Size = Literal["fit", "native"] | int
"""A canvas size as users give it: ``fit``, ``native``, or the side of a square canvas in pixels."""

MAX_NATIVE_PIXELS = MAX_SIDE**2
"""Largest number of pixels of one canvas and of one batch. A full-width network needs about 2 KiB per pixel."""

_WHITE = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """An image placed on its canvas, and what is needed to cut the output back to the image's size."""

    pixels: Pixels
    """uint8 [H, W, 3]; H and W are multiples of the model's ``size_multiple``."""

    height: int
    """Height of the input image, pixels."""

    width: int
    """Width of the input image, pixels."""

    inner_height: int
    """Rows of the canvas that the image covers, from the top."""

    inner_width: int
    """Columns of the canvas that the image covers, from the left."""

    def batch_limit(self, wanted: int) -> int:
        """Return how many canvases of this shape one call of the network may take: at most ``wanted``, at least 1."""
        height, width = self.pixels.shape[:2]
        return max(1, min(wanted, MAX_NATIVE_PIXELS // int(height * width)))

    def restore(self, output: Pixels) -> Pixels:
        """Cut the network's output on this canvas back to the size of the image.

        Args:
            output: uint8 [H, W, 3], the shape of ``pixels``.

        Returns:
            A new array, uint8 [height, width, 3].
        """
        inner = output[: self.inner_height, : self.inner_width]
        if (self.inner_height, self.inner_width) == (self.height, self.width):
            return inner.copy()
        # Bilinear: a sharper filter overshoots at the edges of a flat color.
        resized = Image.fromarray(np.ascontiguousarray(inner)).resize(
            (self.width, self.height), Image.Resampling.BILINEAR
        )
        return np.array(resized)


@dataclass(frozen=True, kw_only=True, slots=True)
class CanvasRule:
    """The rule by which every image of a run is placed on a canvas.

    Raises:
        UsageError: ``size`` is not a multiple of ``multiple``, or is larger than the network may take.
    """

    mode: Literal["fit", "native"] = "fit"
    """``fit``: one square canvas for all images. ``native``: each image at its own size."""

    size: int
    """Side of the square canvas of ``fit``, pixels."""

    multiple: int
    """The model's ``size_multiple``: height and width of every canvas are multiples of it."""

    def __post_init__(self) -> None:
        if self.mode not in ("fit", "native"):
            raise ValueError(f"mode must be fit or native, got {self.mode!r}")
        if self.size < 1 or self.size % self.multiple or self.size > MAX_SIDE:
            below = max(self.multiple, self.size // self.multiple * self.multiple)
            largest = MAX_SIDE // self.multiple * self.multiple
            near = f"{below} or {below + self.multiple}" if self.size < largest else f"{largest} or less"
            raise UsageError(
                f"the network cannot take size {self.size}: it needs a multiple of {self.multiple} up to {largest}",
                remedy=f"give {near}",
            )

    @classmethod
    def for_size(cls, size: Size, *, training_size: int, multiple: int, fixed_size: bool) -> "CanvasRule":
        """Make the rule for a size that a user gave and a network.

        Args:
            size: ``fit`` takes the training size.
            training_size: side of the images that the network was trained on, pixels.
            multiple: the network's ``size_multiple``.
            fixed_size: the network takes ``training_size`` alone.

        Raises:
            UsageError: the network cannot take this size.
        """
        if not isinstance(size, int) and size not in ("fit", "native"):
            raise UsageError(f"unknown size {size!r}", remedy="give fit, native or a number of pixels")
        if fixed_size and size not in ("fit", training_size):
            raise UsageError(f"the network takes only {training_size}x{training_size} pixels", remedy="give --size fit")
        mode: Literal["fit", "native"] = "native" if size == "native" else "fit"
        return cls(mode=mode, size=size if isinstance(size, int) else training_size, multiple=multiple)

    def place(self, pixels: Pixels) -> Canvas:
        """Place an image on its canvas.

        Args:
            pixels: uint8 [H, W, 3], any size.

        Raises:
            ImageError: in ``native`` mode, the canvas would have more than ``MAX_NATIVE_PIXELS``.
        """
        height, width = pixels.shape[:2]
        if self.mode == "fit":
            canvas_height = canvas_width = self.size
            scale = min(1.0, self.size / max(height, width))
            inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
        else:
            canvas_height, canvas_width = (-(-side // self.multiple) * self.multiple for side in (height, width))
            if canvas_height * canvas_width > MAX_NATIVE_PIXELS:
                raise ImageError(
                    f"{width}x{height} pixels, more than the {MAX_NATIVE_PIXELS} that the network takes at full size",
                    remedy="use --size fit",
                )
            inner_height, inner_width = height, width
        if (inner_height, inner_width) != (height, width):
            resized = Image.fromarray(pixels).resize((inner_width, inner_height), Image.Resampling.LANCZOS)
            pixels = np.asarray(resized)
        if (inner_height, inner_width) != (canvas_height, canvas_width):
            padded = np.full((canvas_height, canvas_width, 3), _WHITE, dtype=np.uint8)
            padded[:inner_height, :inner_width] = pixels
            pixels = padded
        return Canvas(pixels=pixels, height=height, width=width, inner_height=inner_height, inner_width=inner_width)
