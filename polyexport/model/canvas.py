"""How an image of any size meets a network that takes multiples of ``size_multiple``.

``fit`` puts the image on a square canvas of the model's own size: larger images are scaled down, smaller ones are
padded with white paper and never enlarged. ``native`` keeps the image's own resolution and pads it to the next
multiple. Both give the result back at the size of the input; an image that already has the canvas's size passes
through untouched.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from polyexport.errors import ImageError, UsageError
from polyexport.imaging.pixels import MAX_SIDE, Pixels

__all__ = ["MAX_NATIVE_PIXELS", "Framed", "Framing"]

MAX_NATIVE_PIXELS = MAX_SIDE**2
"""Of one canvas, and of one batch. Activations of a full-width network take about 2 KiB per pixel."""

_WHITE = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Framed:
    """An image on its canvas, and the way back."""

    canvas: Pixels
    """uint8 [H, W, 3]; H and W are multiples of the model's ``size_multiple``."""

    height: int
    """Of the input image, as is ``width``."""

    width: int
    inner_height: int
    """Rows of the canvas that the image covers; columns are in ``inner_width``."""

    inner_width: int

    def batch_limit(self, wanted: int) -> int:
        """How many canvases of this shape one call of the network may take, at least 1."""
        height, width = self.canvas.shape[:2]
        return max(1, min(wanted, MAX_NATIVE_PIXELS // int(height * width)))

    def restore(self, colored: Pixels) -> Pixels:
        """The network's output on this canvas -> a new array, uint8 [height, width, 3]."""
        inner = colored[: self.inner_height, : self.inner_width]
        if (self.inner_height, self.inner_width) == (self.height, self.width):
            return inner.copy()
        # Bilinear: a sharper filter overshoots at the edges of a flat colour.
        resized = Image.fromarray(np.ascontiguousarray(inner)).resize(
            (self.width, self.height), Image.Resampling.BILINEAR
        )
        return np.array(resized)


@dataclass(frozen=True, kw_only=True, slots=True)
class Framing:
    """A way to frame every image of a run."""

    mode: Literal["fit", "native"] = "fit"
    size: int
    """Canvas height and width for ``fit``, pixels."""

    multiple: int
    """The model's ``size_multiple``."""

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

    def frame(self, pixels: Pixels) -> Framed:
        """uint8 [H, W, 3] -> its canvas.

        Raises:
            ImageError: larger than ``MAX_NATIVE_PIXELS`` in ``native`` mode.
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
        if (inner_height, inner_width) == (canvas_height, canvas_width):
            canvas = pixels
        else:
            canvas = np.full((canvas_height, canvas_width, 3), _WHITE, dtype=np.uint8)
            canvas[:inner_height, :inner_width] = pixels
        return Framed(canvas=canvas, height=height, width=width, inner_height=inner_height, inner_width=inner_width)
